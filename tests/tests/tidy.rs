//! House rules that the compiler does not know.
//!
//! Each rule names what must be absent, and where it may stand. They are checked on the text of the
//! sources, with comments and literals taken out where the rule is about code.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "what cannot be read fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use podwalk_tests::source::{Function, code_lines, code_of, functions_of, has_word};
use serde_json::Value;

/// The longest function outside tests, in lines from `fn` to its closing brace. For tests, which hold
/// tables, clippy counts alone.
const LONGEST_FUNCTION: usize = 80;

/// The longest file outside tests, in lines that are neither blank nor comment.
const LONGEST_FILE: usize = 500;

/// The crates of the workspace, with those of ours that each may depend on, tests excepted. The
/// arrows are those of `ARCHITECTURE.md`: adapters do not see each other, nor the engine.
const ARROWS: [(&str, &[&str]); 9] = [
    ("podwalk-engine", &[]),
    ("podwalk-store", &["podwalk-engine"]),
    ("podwalk-process", &[]),
    ("podwalk-netns", &["podwalk-process"]),
    ("podwalk-cni", &["podwalk-process"]),
    ("podwalk-oci", &["podwalk-pause", "podwalk-process"]),
    ("podwalk-pause", &[]),
    ("podwalk-cri", &["podwalk-engine"]),
    ("podwalk-testkit", &["podwalk-engine", "podwalk-store"]),
];

/// What the engine must never depend on, not even through others: it has no clock, no file system
/// and no runtime.
const NOT_IN_THE_ENGINE: [&str; 9] = [
    "tokio",
    "nix",
    "sled",
    "rustix",
    "notify",
    "libc",
    "mio",
    "async-std",
    "socket2",
];

fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

/// Every file of the workspace, by its path from the root; what is built or fetched excepted.
fn files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name();
            let is_ours = !["target", ".git", "corpus", "artifacts"]
                .iter()
                .any(|other| name == *other);
            if !is_ours {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            } else {
                found.push(entry.path().strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    let bytes = fs::read(root().join(path)).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn sources() -> Vec<(PathBuf, String)> {
    let is_rust = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "rs");
    let files = files().into_iter().filter(is_rust);
    files.map(|path| (path.clone(), read(&path))).collect()
}

/// The sources that are no tests, of crates that are more than tests.
fn product_sources() -> Vec<(PathBuf, String)> {
    let is_test = |path: &Path| {
        let mut parts = path.iter();
        path.ends_with("tests.rs") || parts.any(|part| part == "tests")
    };
    let sources = sources().into_iter();
    sources
        .filter(|(path, _)| path.starts_with("tests/src") || !is_test(path))
        .collect()
}

/// Fails with all that was found, not only the first.
fn expect_none(rule: &str, found: &[String]) {
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}

fn may_be_unsafe(path: &Path) -> bool {
    path == Path::new("crates/netns/src/sys.rs") || path.starts_with("crates/pause")
}

#[test]
fn unsafe_stands_in_two_places() {
    let mut found = Vec::new();
    for (path, text) in sources() {
        for (number, line) in code_of(&text).lines().enumerate() {
            if has_word(line, "unsafe") && !may_be_unsafe(&path) {
                found.push(format!("{}:{}", path.display(), number + 1));
            }
        }
    }
    expect_none("unsafe outside netns/src/sys.rs and pause", &found);
}

#[test]
fn every_crate_forbids_unsafe_code() {
    let mut found = Vec::new();
    for (path, text) in sources() {
        let is_root = path.ends_with("src/lib.rs") || path.ends_with("src/main.rs");
        let is_root = is_root
            || path
                .parent()
                .is_some_and(|parent| parent.ends_with("src/bin"));
        // The module that may be unsafe needs a crate that only denies it.
        let wanted = if path.starts_with("crates/netns") {
            "#![deny(unsafe_code)]"
        } else {
            "#![forbid(unsafe_code)]"
        };
        if is_root && !path.starts_with("crates/pause") && !text.contains(wanted) {
            found.push(format!("{} lacks {wanted}", path.display()));
        }
    }
    expect_none("crates without the attribute", &found);
}

#[test]
fn nothing_is_left_to_do() {
    let mut found = Vec::new();
    for (path, text) in sources() {
        for (number, line) in code_of(&text).lines().enumerate() {
            for name in ["todo", "unimplemented", "dbg"] {
                if has_word(line, name) && line.contains(&format!("{name}!")) {
                    found.push(format!("{}:{}: {name}!", path.display(), number + 1));
                }
            }
        }
    }
    expect_none("placeholders", &found);
}

#[test]
fn every_library_opens_with_a_page_of_prose() {
    let mut found = Vec::new();
    for (path, text) in sources() {
        if !path.ends_with("src/lib.rs") || path.starts_with("fuzz") {
            continue;
        }
        let prose = text.lines().take_while(|line| line.starts_with("//!"));
        let lines = prose.count();
        if lines < 12 {
            found.push(format!("{}: {lines} lines", path.display()));
        }
    }
    expect_none("libraries without a front page", &found);
}

#[test]
fn no_file_knows_the_machine_it_was_written_on() {
    // Taken apart, so that this file does not hold them itself.
    let words = [
        ["/work", "/main"],
        ["/work", "/shared"],
        ["/work", "/."],
        [".lib", "rary"],
    ];
    let words = words.map(|parts| parts.concat());
    let mut found = Vec::new();
    for path in files() {
        let text = read(&path);
        for (number, line) in text.lines().enumerate() {
            if words.iter().any(|word| line.contains(word)) {
                found.push(format!("{}:{}: {line}", path.display(), number + 1));
            }
        }
    }
    expect_none("paths of a machine", &found);
}

#[test]
fn every_dependency_comes_from_the_public_registry() {
    let lock = read(Path::new("Cargo.lock"));
    let wanted = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
    let found: Vec<String> = lock
        .lines()
        .filter(|line| line.starts_with("source = ") && *line != wanted)
        .map(str::to_owned)
        .collect();
    expect_none("sources other than crates.io", &found);
    let of_cargo = |path: &&PathBuf| {
        let directory = path.parent().and_then(Path::file_name);
        directory.is_some_and(|name| name == ".cargo")
            && path.file_stem() == Some("config".as_ref())
    };
    let redirects = |path: &&PathBuf| {
        let text = read(path);
        path.starts_with(".cargo") || text.contains("source") || text.contains("regist")
    };
    let files = files();
    let found: Vec<String> = files
        .iter()
        .filter(of_cargo)
        .filter(redirects)
        .map(|path| path.display().to_string())
        .collect();
    expect_none("configurations that redirect everybody's cargo", &found);
}

fn cargo(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO"));
    let ran = command.current_dir(root()).args(arguments).output();
    let ran = ran.unwrap();
    let complaint = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.success(), "cargo {arguments:?}: {complaint}");
    String::from_utf8(ran.stdout).unwrap()
}

#[test]
fn the_engine_depends_on_nothing_that_acts() {
    let arguments = "tree --offline --locked --package podwalk-engine --edges normal --prefix none";
    let tree = cargo(&arguments.split(' ').collect::<Vec<_>>());
    let names: BTreeSet<&str> = tree
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    // Were the list not what it seems, the rest would prove nothing.
    assert!(names.contains("podwalk-engine") && names.contains("serde"));
    let found: Vec<String> = NOT_IN_THE_ENGINE
        .iter()
        .filter(|name| names.contains(**name))
        .map(|name| (*name).to_owned())
        .collect();
    expect_none("dependencies of the engine", &found);
}

/// The workspace's packages with the packages of ours that they depend on, tests excepted.
fn own_dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = cargo(&[
        "metadata",
        "--offline",
        "--locked",
        "--no-deps",
        "--format-version=1",
    ]);
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut found = BTreeMap::new();
    for package in metadata["packages"].as_array().unwrap() {
        let dependencies = package["dependencies"].as_array().unwrap().iter();
        let ours = dependencies
            .filter(|one| one["kind"] != "dev")
            .map(|one| text(&one["name"]))
            .filter(|name| name.starts_with("podwalk"));
        found.insert(text(&package["name"]), ours.collect());
    }
    found
}

#[test]
fn crates_depend_along_the_arrows() {
    let dependencies = own_dependencies();
    let mut found = Vec::new();
    for (name, allowed) in ARROWS {
        for other in dependencies.get(name).into_iter().flatten() {
            if !allowed.contains(&other.as_str()) {
                found.push(format!("{name} → {other}"));
            }
        }
    }
    for name in dependencies.keys() {
        let is_above = ["podwalk", "podwalk-tests", "podwalk-fuzz"].contains(&name.as_str());
        if !is_above && !ARROWS.iter().any(|(known, _)| known == name) {
            found.push(format!("{name} is in no list of arrows"));
        }
    }
    expect_none("dependencies against the arrows", &found);
}

#[test]
fn every_crate_takes_the_workspace_s_lints() {
    let manifests = files()
        .into_iter()
        .filter(|path| path.ends_with("Cargo.toml"));
    let found: Vec<String> = manifests
        .filter(|path| path != Path::new("Cargo.toml"))
        .filter(|path| !read(path).contains("[lints]\nworkspace = true"))
        .map(|path| path.display().to_string())
        .collect();
    expect_none("manifests with lints of their own", &found);
}

#[test]
fn functions_are_short() {
    let mut found = Vec::new();
    let mut seen = 0;
    for (path, text) in product_sources() {
        for Function { name, line, length } in functions_of(&code_of(&text)) {
            seen += 1;
            if length > LONGEST_FUNCTION {
                found.push(format!("{}:{line}: {name}, {length}", path.display()));
            }
        }
    }
    assert!(seen > 500, "only {seen} functions were seen");
    expect_none("functions that are too long", &found);
}

#[test]
fn files_are_short() {
    let mut found = Vec::new();
    for (path, text) in product_sources() {
        let lines = code_lines(&text);
        if lines > LONGEST_FILE {
            found.push(format!("{}: {lines}", path.display()));
        }
    }
    expect_none("files that are too long", &found);
}
