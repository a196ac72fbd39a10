//! The core has no clock, no file, no descriptor, no thread and no executor.
//! What it is built from proves it.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)] // a test says so by panicking

use std::collections::BTreeSet;
use std::process::Command;

/// All that the engine is built from, build scripts and macros aside.
fn dependencies() -> BTreeSet<String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let tree = Command::new(cargo)
        .args(["tree", "--offline", "--package", "podwalk-engine"])
        .args(["--edges", "normal,no-proc-macro", "--prefix", "none"])
        .args(["--format", "{p}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    let errors = String::from_utf8_lossy(&tree.stderr);
    assert!(tree.status.success(), "cargo tree: {errors}");
    let told = String::from_utf8(tree.stdout).expect("names are text");
    let first = |line: &str| line.split_whitespace().next().map(str::to_owned);
    told.lines().filter_map(first).collect()
}

/// A new one is a decision, not an accident: look at what it can do first.
#[test]
fn the_engine_is_built_from_these_and_no_others() {
    let known = [
        "futures-channel",
        "futures-core",
        "futures-sink",
        "futures-task",
        "futures-util",
        "memchr",
        "once_cell",
        "pin-project-lite",
        "podwalk-engine",
        "serde",
        "serde_core",
        "slab",
        "thiserror",
        "tracing",
        "tracing-core",
    ];
    let unknown: Vec<_> = dependencies()
        .into_iter()
        .filter(|name| !known.contains(&name.as_str()))
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn nothing_that_touches_the_world_is_among_them() {
    let found = dependencies();
    assert!(
        found.contains("serde"),
        "the list is read rightly: {found:?}"
    );
    for absent in [
        "tokio",
        "async-std",
        "smol",
        "nix",
        "rustix",
        "libc",
        "sled",
        "mio",
        "tempfile",
        "rand",
        "getrandom",
        "chrono",
        "time",
        "podwalk-store",
        "podwalk-netns",
        "podwalk-cni",
        "podwalk-oci",
    ] {
        assert!(!found.contains(absent), "{absent} is among them");
    }
}

/// The standard library can touch it too.
#[test]
fn the_source_names_no_part_of_the_standard_library_that_touches_the_world() {
    fn sources(directory: &std::path::Path, into: &mut Vec<std::path::PathBuf>) {
        for entry in std::fs::read_dir(directory).expect("the source is there") {
            let path = entry.expect("it can be listed").path();
            let is_test = path
                .file_stem()
                .is_some_and(|stem| stem == "tests" || stem == "fixture");
            match path.is_dir() {
                _ if is_test => {}
                true => sources(&path, into),
                false if path.extension().is_some_and(|end| end == "rs") => into.push(path),
                false => {}
            }
        }
    }
    let mut files = Vec::new();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    sources(&root, &mut files);
    assert!(files.len() > 20, "{} files", files.len());
    for file in files {
        let text = std::fs::read_to_string(&file).expect("it can be read");
        for forbidden in [
            "std::fs",
            "std::net::Tcp",
            "std::net::Udp",
            "std::process",
            "std::thread",
            "std::env",
            "std::os",
            "std::io",
            "SystemTime",
            "Instant",
            "println!",
            "eprintln!",
        ] {
            assert!(!text.contains(forbidden), "{}: {forbidden}", file.display());
        }
    }
}
