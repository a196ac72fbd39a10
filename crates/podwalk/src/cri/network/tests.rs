use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::sys::stat::Mode;
use podwalk_cni::{ConfigDir, Runtime, RuntimeOptions};

use super::*;

/// A directory with a conflist of this one plugin.
fn conflist_of(plugin: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let text =
        format!(r#"{{"cniVersion":"1.1.0","name":"{plugin}","plugins":[{{"type":"{plugin}"}}]}}"#);
    std::fs::write(directory.path().join("10.conflist"), text).unwrap();
    directory
}

fn plugin(directory: &Path, name: &str, script: &str) {
    let path = directory.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn an_answer_about_a_configuration_that_was_replaced_meanwhile_does_not_count() {
    let plugins = tempfile::tempdir().unwrap();
    let gate = plugins.path().join("gate");
    nix::unistd::mkfifo(&gate, Mode::S_IRWXU).unwrap();
    plugin(
        plugins.path(),
        "old",
        "read -r _ < \"${0%/*}/gate\"\nexit 1",
    );
    plugin(plugins.path(), "new", "exit 0");
    let runtime = Runtime::new(RuntimeOptions::new(vec![plugins.path().to_owned()]));
    let (old, new) = (conflist_of("old"), conflist_of("new"));
    let load = |of: &tempfile::TempDir| ConfigDir::new(of.path()).load();
    let networks = Networks::new(runtime, load(&old), old.path().to_owned());
    let networks = Arc::new(networks);
    let reporter = Arc::new(Reporter::new(networks.clone()));

    let asked = reporter.clone();
    let asked = tokio::spawn(async move { asked.answered().await });
    // It opens when the plugin of the old configuration reads it.
    let gate = tokio::task::spawn_blocking(|| std::fs::OpenOptions::new().write(true).open(gate));
    let gate = gate.await.unwrap().unwrap();
    networks.replace(Arc::new(load(&new)));
    assert!(reporter.last().is_none());
    drop(gate);
    asked.await.unwrap();
    let last = reporter.last().unwrap().condition;
    assert!(last.holds, "{last:?}");
}
