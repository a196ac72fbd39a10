use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::sys::stat::Mode;
use podwalk_cni::{ConfigDir, Runtime, RuntimeOptions};
use tokio::task::JoinHandle;

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

/// Networks whose plugin reads the gate and then fails, and a configuration whose plugin is ready.
fn gated(plugins: &Path) -> (Arc<Networks>, PathBuf, Arc<Loaded>) {
    let gate = plugins.join("gate");
    nix::unistd::mkfifo(&gate, Mode::S_IRWXU).unwrap();
    plugin(plugins, "old", "read -r _ < \"${0%/*}/gate\"\nexit 1");
    plugin(plugins, "new", "exit 0");
    let runtime = Runtime::new(RuntimeOptions::new(vec![plugins.to_owned()]));
    let directories = [conflist_of("old"), conflist_of("new")];
    let [old, new] = directories
        .each_ref()
        .map(|of| ConfigDir::new(of.path()).load());
    let networks = Networks::new(runtime, old, directories[0].path().to_owned());
    (Arc::new(networks), gate, Arc::new(new))
}

/// The gate, which opens when the plugin of the old configuration reads it.
async fn opened(gate: PathBuf) -> File {
    let open = tokio::task::spawn_blocking(|| File::options().write(true).open(gate));
    open.await.unwrap().unwrap()
}

/// Whoever asked when a configuration was replaced by one whose plugin is ready. The old one's ends
/// when the file is closed.
async fn replaced(plugins: &Path) -> (Arc<Reporter>, JoinHandle<()>, File) {
    let (networks, gate, new) = gated(plugins);
    let reporter = Arc::new(Reporter::new(networks.clone()));
    let asking = reporter.clone();
    let asked = tokio::spawn(async move { asking.answered().await });
    let gate = opened(gate).await;
    networks.replace(new);
    assert!(reporter.last().is_none());
    (reporter, asked, gate)
}

#[tokio::test]
async fn an_answer_about_a_configuration_that_was_replaced_meanwhile_does_not_count() {
    let plugins = tempfile::tempdir().unwrap();
    let (reporter, asked, gate) = replaced(plugins.path()).await;
    drop(gate);
    asked.await.unwrap();
    let last = reporter.last().unwrap().condition;
    assert!(last.holds, "{last:?}");
}

#[tokio::test]
async fn a_plugin_that_hangs_is_not_waited_for_when_its_configuration_was_replaced() {
    let plugins = tempfile::tempdir().unwrap();
    let (reporter, asked, gate) = replaced(plugins.path()).await;
    reporter.answered().await;
    let last = reporter.last().unwrap().condition;
    assert!(last.holds, "{last:?}");
    asked.await.unwrap();
    drop(gate);
}
