//! What stands in a pod's way: handlers, networks and plugins as they are configured, and pods whose
//! handler is not.
//!
//! It looks and changes nothing; orphans are found, and removed when that is asked for, by the daemon
//! (see [`orphans`](crate::orphans)), and told here. What is well is told too, so that nobody wonders
//! whether it was looked at.

use std::path::Path;
use std::sync::Arc;

use podwalk_cni::{ConfigDir, Conflist, Runtime, RuntimeOptions};
use podwalk_oci::Unlisted;
use serde::Serialize;

use crate::api::Orphan;
use crate::config::Config;
use crate::handlers::Handlers;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What: `runtime crun`, `network podnet`, `pod ID`.
    pub about: String,
    /// Whether it is well.
    pub ok: bool,
    /// What was found.
    pub says: String,
    /// What to do about it; empty if nothing is to be done.
    pub remedy: String,
}

/// A pod, and the handler that is to look after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patient {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The handler's name; empty for the default.
    pub handler: String,
}

impl Finding {
    /// The daemon, who knows its orphans, is down.
    pub fn unseen_orphans() -> Self {
        Self::well("orphans".to_owned(), "not looked for: the daemon is down")
    }

    /// The daemon could not look for its orphans, or nobody could ask it to.
    pub fn unsought_orphans(error: &dyn std::fmt::Display) -> Self {
        let remedy = "see to that, and ask again";
        Self::wrong("orphans".to_owned(), error.to_string(), remedy)
    }

    fn well(about: String, says: impl Into<String>) -> Self {
        Self {
            about,
            ok: true,
            says: says.into(),
            remedy: String::new(),
        }
    }

    fn wrong(about: String, says: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            about,
            ok: false,
            says: says.into(),
            remedy: remedy.into(),
        }
    }
}

/// Looks at all that a configuration names, and at these pods.
///
/// # Errors
/// When the handlers that are configured contradict each other.
pub async fn examine(config: &Config, pods: &[Patient]) -> anyhow::Result<Vec<Finding>> {
    let handlers = Handlers::new(config, Arc::new(Unlisted))?;
    let mut findings = Vec::new();
    for name in wanted(config, pods) {
        // Who is missing is told of the pods that want it.
        if let Ok(runtime) = handlers.find(name) {
            findings.push(runtime_handler(runtime).await);
        }
    }
    let cni = Runtime::new(RuntimeOptions::new(config.cni.bin_dirs.clone()));
    let own = config.runtime.handlers.values();
    let own = own.filter_map(|handler| handler.cni_conf_dir.as_ref());
    let mut directories: Vec<_> = std::iter::once(&config.cni.conf_dir).chain(own).collect();
    directories.sort();
    directories.dedup();
    for directory in directories {
        networks(&cni, directory, &mut findings);
    }
    findings.extend(
        pods.iter()
            .filter_map(|pod| without_handler(&handlers, pod)),
    );
    Ok(findings)
}

/// The handlers that somebody has asked for: the default, those that are configured, those of pods.
fn wanted<'a>(config: &'a Config, pods: &'a [Patient]) -> Vec<&'a str> {
    let configured = config.runtime.handlers.keys().map(String::as_str);
    let of_pods = pods.iter().map(|pod| pod.handler.as_str());
    let mut wanted: Vec<_> = configured.chain(of_pods).collect();
    wanted.push(&config.runtime.default);
    wanted.retain(|name| !name.is_empty());
    wanted.sort_unstable();
    wanted.dedup();
    wanted
}

async fn runtime_handler(runtime: &podwalk_oci::Runtime) -> Finding {
    let about = format!("runtime {}", runtime.handler().name);
    match runtime.version().await {
        Ok(version) => Finding::well(
            about,
            format!("{}: {}", version.binary.display(), version.line),
        ),
        Err(error) => Finding::wrong(
            about,
            error.to_string(),
            "the key is runtime.handlers.NAME.binary",
        ),
    }
}

fn networks(cni: &Runtime, directory: &Path, findings: &mut Vec<Finding>) {
    let loaded = ConfigDir::new(directory).load();
    for (path, error) in &loaded.broken {
        findings.push(Finding::wrong(
            format!("file {}", path.display()),
            error.to_string(),
            "it gives no network: correct or remove it",
        ));
    }
    if loaded.networks.is_empty() {
        findings.push(Finding::wrong(
            format!("directory {}", directory.display()),
            "there is no network configuration in it",
            "put a conflist into it, or start pods in the modes host and none only",
        ));
    }
    findings.extend(loaded.networks.iter().map(|one| network(cni, one)));
}

fn network(cni: &Runtime, conflist: &Conflist) -> Finding {
    let about = format!("network {}", conflist.name());
    match cni.locate(conflist) {
        Ok(plugins) => {
            let plugins: Vec<_> = plugins
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            Finding::well(about, plugins.join(", "))
        }
        Err(error) => Finding::wrong(about, error.to_string(), "the key is cni.bin_dirs"),
    }
}

/// What the daemon has found, and done, about what is its own on the host and no pod's.
pub fn of_orphans(orphans: &[Orphan]) -> Vec<Finding> {
    match orphans {
        [] => vec![Finding::well("orphans".to_owned(), "none")],
        orphans => orphans.iter().map(orphan).collect(),
    }
}

fn orphan(orphan: &Orphan) -> Finding {
    let about = format!("orphan {}", orphan.path);
    if orphan.removed {
        let addresses = "what host-local gave it, if it did, is in";
        let says = format!(
            "removed; {addresses}: grep -rl {} /var/lib/cni/networks",
            orphan.id
        );
        return Finding::well(about, says);
    }
    if !orphan.error.is_empty() {
        let remedy = "see what is on the file, and whose it is";
        return Finding::wrong(about, format!("not removed: {}", orphan.error), remedy);
    }
    if orphan.processes.is_empty() {
        let says = "the namespace of a pod that is in no record";
        return Finding::wrong(about, says, "podwalk doctor --fix removes it");
    }
    let pids: Vec<_> = orphan.processes.iter().map(u32::to_string).collect();
    let says = format!(
        "the namespace of a pod that is in no record, and processes are alive in it: {}",
        pids.join(", ")
    );
    Finding::wrong(
        about,
        says,
        "it is kept: see whose they are and end them first",
    )
}

/// A pod that nobody can look after is told; of the others `ps` and `inspect` tell more.
fn without_handler(handlers: &Handlers, pod: &Patient) -> Option<Finding> {
    let error = handlers.find(&pod.handler).err()?;
    Some(Finding::wrong(
        format!("pod {} ({})", pod.id, pod.name),
        format!(
            "{}: it stays, is not ready, and cannot be stopped as long as its sandbox may be alive",
            error.message
        ),
        format!(
            "configure runtime.handlers.{} as it was and restart the daemon: the pod is adopted then",
            pod.handler
        ),
    ))
}

#[cfg(test)]
mod tests;
