//! Every seed still passes, and every target has seeds that reach behind its first check.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "what cannot be read fails the test")]

use std::fs;
use std::path::{Path, PathBuf};

use podwalk_fuzz::{TARGETS, seal};

fn seeds(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("seeds")
        .join(target);
    let entries = fs::read_dir(&directory).unwrap();
    entries
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

#[test]
fn every_seed_passes() {
    for (name, target) in TARGETS {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "{name} has no seeds");
        for (path, bytes) in seeds {
            println!("{}", path.display());
            target(&bytes);
        }
    }
}

#[test]
fn every_target_is_a_program_of_cargo_fuzz() {
    let manifest = include_str!("../Cargo.toml");
    for (name, _) in TARGETS {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")));
    }
    assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len());
}

#[test]
fn a_seed_of_each_target_is_valid() {
    use podwalk_cni::{Conflist, ParsedResult, SpecVersion};
    let any = |target: &str, is_valid: &dyn Fn(&[u8]) -> bool| {
        assert!(
            seeds(target).iter().any(|(_, bytes)| is_valid(bytes)),
            "no seed of {target} is valid"
        );
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    any("record", &|bytes| {
        podwalk_store::format::decode(bytes).is_ok()
    });
    any("payload", &|bytes| {
        podwalk_store::format::decode(&seal(bytes)).is_ok()
    });
    any("conflist", &|bytes| {
        Conflist::parse(bytes, Path::new("x")).is_ok()
    });
    any("plugin_result", &|bytes| {
        ParsedResult::parse(bytes, SpecVersion::NEWEST).is_ok()
    });
    any("config", &|bytes| {
        podwalk::config::Config::parse(&text(bytes)).is_ok()
    });
    any("pod_config", &|bytes| {
        podwalk::sandbox_config::PodSandboxConfig::parse(&text(bytes)).is_ok()
    });
}
