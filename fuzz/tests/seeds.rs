//! Every seed still passes, and every target has seeds that reach behind its first check.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "what cannot be read fails the test")]

use std::fs;
use std::path::{Path, PathBuf};

use podwalk_engine::pod::{Pod, Status};
use podwalk_engine::record::Goal;
use podwalk_engine::step::Step;
use podwalk_fuzz::{TARGETS, fold};

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
    any("conflist", &|bytes| {
        Conflist::parse(bytes, Path::new("x")).is_ok()
    });
    for version in SpecVersion::ALL {
        let named = format!("\"cniVersion\": \"{version}\"");
        any("plugin_result", &|bytes| {
            let is_oldest = version == SpecVersion::V0_1_0;
            let is_named = text(bytes).contains(&named);
            let is_nameless = is_oldest && !text(bytes).contains("cniVersion");
            (is_named || is_nameless) && ParsedResult::parse(bytes, version).is_ok()
        });
    }
    any("config", &|bytes| {
        podwalk::config::Config::parse(&text(bytes)).is_ok()
    });
    any("pod_config", &|bytes| {
        let config = podwalk_cri::config::PodSandboxConfig::parse(&text(bytes)).ok();
        let spec = config.and_then(|config| config.into_spec(None, String::new()).ok());
        spec.is_some_and(|spec| spec.security.user_namespace.is_some() && spec.validate().is_ok())
    });
}

/// The bytes of a golden file of the journal.
fn golden(path: &Path) -> Vec<u8> {
    let text = fs::read_to_string(path).unwrap();
    let digits = text.split_ascii_whitespace();
    digits
        .map(|digits| u8::from_str_radix(digits, 16).unwrap())
        .collect()
}

/// A seed of a layout that is no more would pass too, and reach nothing. `PODWALK_WRITE_GOLDEN=1`
/// writes these anew, after the golden files.
#[test]
fn every_golden_record_is_a_seed_whole_and_as_a_frame() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let entries = fs::read_dir(here.join("../crates/store/tests/golden")).unwrap();
    let mut frames = 0;
    for path in entries.map(|entry| entry.unwrap().path()) {
        let name = path.file_stem().unwrap();
        let whole = golden(&path);
        is_seed(&here.join("seeds/record").join(name), &whole);
        // An obituary is no part of a walk.
        if whole.starts_with(b"PWLK") {
            let payload = &whole[podwalk_store::format::ENVELOPE_BYTES..];
            let length = u16::try_from(payload.len()).unwrap().to_le_bytes();
            let frame = [&[0], &length[..], payload].concat();
            is_seed(&here.join("seeds/fold").join(name), &frame);
            frames += 1;
        }
    }
    assert!(frames > 20, "{frames} golden records");
}

fn is_seed(path: &Path, bytes: &[u8]) {
    if std::env::var_os("PODWALK_WRITE_GOLDEN").is_some() {
        fs::write(path, bytes).unwrap();
    }
    assert!(
        fs::read(path).is_ok_and(|seed| seed == bytes),
        "{} is not the golden record",
        path.display()
    );
}

/// What a seed's walk comes to; none of its records is left out.
fn walked(name: &str, records: usize) -> Pod {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds/fold");
    let (kept, pod) = fold::read(&fs::read(path.join(name)).unwrap());
    assert_eq!(kept.len(), records, "{name}");
    pod.unwrap()
}

#[test]
fn seeds_of_the_fold_walk_up_down_and_over_a_reboot() {
    assert!(walked("walk-started", 11).is_ready());
    assert!(walked("walk-of-another-pod", 6).exited.is_some());
    assert_eq!(walked("walk-of-the-host", 7).goal, Goal::Remove);
    assert!(!walked("walk-failed", 12).attachments.is_empty());
    assert!(walked("walk-owes", 18).outlived.is_some());
    let rebooted = walked("walk-rebooted", 15);
    assert_eq!(rebooted.status(Step::MountNetns), Status::Never);
    assert_eq!(walked("walk-restart", 23).slot(Step::Start).climbs, 2);
}
