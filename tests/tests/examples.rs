//! The examples do what they say, on a real kernel.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};
use podwalk_tests::conflist::Bridge;
use podwalk_tests::daemon::Config;
use podwalk_tests::node::{self, Layout};
use podwalk_tests::oracle::{Oracle, Places};
use podwalk_tests::outside;

fn example(name: &str) -> Result<PathBuf> {
    let path = node::binaries()?.join("examples").join(name);
    ensure!(
        path.is_file(),
        "{} is missing: run `cargo build -p podwalk --example {name}`",
        path.display()
    );
    Ok(path)
}

#[test]
fn embed_takes_a_pod_up_and_down_and_leaves_nothing() -> Result<()> {
    node::run(Layout::V2, || {
        let config = Config::named("embed");
        Bridge::new("podnet", "10.88.0.0/24").write(&config.cni_conf_dir, 10)?;
        let oracle = Oracle::new(Places::of(&config)?)?;
        let said = outside::output(&mut Command::new(example("embed")?))?;
        for line in [" is ready: true", " has 10.88.0.", "pods left: 0"] {
            ensure!(said.contains(line), "no {line:?} in:\n{said}");
        }
        oracle.assert_clean()?;
        // A second time, on what the first has left on its disk.
        outside::output(&mut Command::new(example("embed")?))?;
        oracle.assert_clean()
    })
}
