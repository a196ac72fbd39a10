//! What a CNI runtime owes its plugins, checked with a plugin that records what it is given.
//!
//! Each test names the duty that it checks (`duty_NN_…`) or the failure of a real engine that it
//! repeats (`scenario_NN_…`). Duties that need no plugin are checked in the crate itself;
//! `every_duty_has_a_test` looks that none of the 58 is missing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use podwalk_cni::{Attachment, CniError, Conflist, Failure, Ran, Retry, Runtime, RuntimeOptions};
use podwalk_testkit::scripted_plugin::{Answer, Delegate, Installed, Script, install};
use serde_json::{Value, json};

#[path = "cni_duties/verbs.rs"]
mod verbs;

#[path = "cni_duties/faults.rs"]
mod faults;

const PLUGIN: &str = env!("CARGO_BIN_EXE_podwalk-scripted-plugin");
/// A namespace that exists as long as the test does.
const NETNS: &str = "/proc/self/ns/net";
/// A failure guard, not a measure.
const LONG: Duration = Duration::from_secs(120);

/// A plugin directory with scripted plugins, and a network of all of them.
struct Bench {
    directory: tempfile::TempDir,
    plugins: Vec<Installed>,
    conflist: Conflist,
    runtime: Arc<Runtime>,
}

impl Bench {
    fn new(scripts: Vec<Script>) -> Self {
        Bench::at("1.1.0", scripts)
    }

    /// A network at a version, its plugins `p0`, `p1`, … in order.
    fn at(version: &str, scripts: Vec<Script>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let place = |(index, script): (usize, &Script)| {
            let name = format!("p{index}");
            install(Path::new(PLUGIN), directory.path(), &name, script).unwrap()
        };
        let plugins: Vec<Installed> = scripts.iter().enumerate().map(place).collect();
        let kinds: Vec<Value> = (0..scripts.len())
            .map(|index| json!({"type": format!("p{index}"), "own": index}))
            .collect();
        let list = json!({"cniVersion": version, "name": "podnet", "plugins": kinds});
        let conflist = Conflist::parse(list.to_string().as_bytes(), Path::new("x")).unwrap();
        let runtime = runtime(directory.path(), LONG);
        Bench {
            directory,
            plugins,
            conflist,
            runtime,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    async fn add(&self) -> Result<podwalk_cni::AddResult, CniError> {
        self.runtime.add(&self.conflist, &attachment()).await
    }

    async fn del(&self, result: Option<&[u8]>) -> Result<(), CniError> {
        self.runtime
            .del(&self.conflist, &attachment(), result)
            .await
    }

    fn commands(&self, plugin: usize) -> Vec<String> {
        self.plugins[plugin].commands().unwrap()
    }
}

fn runtime(directory: &Path, deadline: Duration) -> Arc<Runtime> {
    let mut options = RuntimeOptions::new(vec![directory.to_owned()]);
    options.plugin_deadline = deadline;
    options.retry = Retry {
        attempts: 3,
        pause: Duration::from_millis(1),
    };
    Arc::new(Runtime::new(options))
}

fn attachment() -> Attachment {
    let mut attachment = Attachment::new("c1", "eth0").in_netns(NETNS);
    attachment.args = vec![("K8S_POD_NAME".to_owned(), "web".to_owned())];
    attachment
}

/// A result with one address in the pod.
fn result(version: &str, address: &str) -> Value {
    json!({
        "cniVersion": version,
        "interfaces": [{"name": "eth0", "mac": "0a:00:00:00:00:03", "sandbox": NETNS}],
        "ips": [{"interface": 0, "address": address}],
    })
}

fn answers(result: Value) -> Answer {
    Answer {
        result: Some(result),
        ..Answer::default()
    }
}

/// An ADD that succeeds with a result that says nothing.
fn attaches() -> Answer {
    answers(json!({"cniVersion": "1.1.0"}))
}

fn fails(code: u32) -> Answer {
    Answer {
        error: Some(json!({"cniVersion": "1.1.0", "code": code, "msg": "as told", "details": "d"})),
        ..Answer::default()
    }
}

/// Waits until a condition holds.
async fn until(condition: impl Fn() -> bool) {
    tokio::time::timeout(LONG, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await
    .expect("it never became true");
}

#[test]
fn every_duty_has_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = String::new();
    let mut directories = vec![root.join("tests"), root.join("../cni/src")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    let missing: Vec<u32> = (1..=58)
        .filter(|number| !sources.contains(&format!("fn duty_{number:02}_")))
        .collect();
    assert!(missing.is_empty(), "duties without a test: {missing:?}");
}
