//! What nobody owns, found without a line of Podwalk.
//!
//! An oracle is made when nothing has happened yet, and remembers what was there. Asked later, it
//! names everything of nine kinds that was not: at the end of a test, when all pods are removed, each
//! such thing is a leak. It uses the tools an operator would use.
//!
//! | kind | seen by |
//! |---|---|
//! | pinned namespaces and other mounts | `findmnt` |
//! | files in the namespace directory, runtime state, bundles, shims' sockets | the directories |
//! | interfaces other than bridges | `ip -d link` |
//! | addresses | host-local's files |
//! | chains that CNI plugins made for one container | `iptables-save`, `ip6tables-save`, `nft` |
//! | processes: the pause process, plugins, runtimes, shims | `/proc` |
//! | cgroups | the cgroup file systems |
//!
//! What plugins leave on purpose is no leak: bridges, host-local's `lock` and `last_reserved_ip`
//! files, and the chains that portmap shares among all pods.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::daemon::Config;
use crate::wait;

mod files;
mod firewall;
mod links;
mod processes;

/// How long [`Oracle::settled_leftovers`] lets the kernel finish what goes on by itself.
const SETTLING: Duration = Duration::from_secs(30);

/// Where an oracle looks, beside the whole mount table, all links, rules, processes and cgroups.
#[derive(Debug, Clone)]
pub struct Places {
    /// Directories whose entries are each one thing of one pod: namespace files, bundles, the
    /// runtimes' state, shims' sockets.
    pub directories: Vec<PathBuf>,
    /// The directory of namespace files. That it is itself a mount is no leak.
    pub netns_dir: PathBuf,
    /// host-local's directory: networks, in each of them one file for each address.
    pub networks_dir: PathBuf,
    /// Names of groups in the root of a hierarchy that the daemon keeps for all pods, as parents of
    /// their groups.
    pub kept_groups: Vec<String>,
    /// Executables whose processes are no leak: the daemon's and its client's.
    pub spared: Vec<PathBuf>,
}

impl Places {
    /// The places of a daemon with this configuration.
    ///
    /// # Errors
    /// If the directory of the binaries cannot be found.
    pub fn of(config: &Config) -> Result<Self> {
        let runtimes = [
            "/run/crun",
            "/run/runc",
            "/run/user/0/crun",
            "/run/containerd/s",
        ];
        let runtimes = runtimes.map(PathBuf::from);
        let own = [
            "bundles",
            "runtimes/crun",
            "runtimes/runc",
            "runtimes/runsc",
            "runtimes/shim-runc/podwalk",
        ];
        let own = own.map(|name| config.run_dir.join(name));
        Ok(Self {
            directories: [vec![config.netns_dir.clone()], own.into(), runtimes.into()].concat(),
            netns_dir: config.netns_dir.clone(),
            networks_dir: PathBuf::from("/var/lib/cni/networks"),
            kept_groups: ["podwalk", "podwalk-effects"].map(str::to_owned).into(),
            spared: vec![crate::node::binaries()?.join("podwalk")],
        })
    }
}

/// One who knows what was there before.
#[derive(Debug)]
pub struct Oracle {
    places: Places,
    before: BTreeSet<String>,
}

impl Oracle {
    /// Looks at the node as it is now.
    ///
    /// # Errors
    /// If one of the tools is missing or fails: an oracle that is blind in one eye says so.
    pub fn new(places: Places) -> Result<Self> {
        let before = look(&places)?;
        Ok(Self { places, before })
    }

    /// Names everything that was not there at the beginning, one line each, sorted.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn leftovers(&self) -> Result<Vec<String>> {
        let now = look(&self.places)?;
        Ok(now.difference(&self.before).cloned().collect())
    }

    /// [`leftovers`](Self::leftovers), as soon as there are none, or after half a minute: the kernel
    /// takes a namespace's interfaces and a dead process down on its own time.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn settled_leftovers(&self) -> Result<Vec<String>> {
        let mut left = Vec::new();
        wait::until(SETTLING, || {
            left = self.leftovers()?;
            Ok(left.is_empty().then_some(()))
        })?;
        Ok(left)
    }

    /// Fails unless nothing is left, now or within half a minute.
    ///
    /// # Errors
    /// The leftovers.
    pub fn assert_clean(&self) -> Result<()> {
        let left = self.settled_leftovers()?;
        ensure!(left.is_empty(), "nobody owns:\n  {}", left.join("\n  "));
        Ok(())
    }
}

fn look(places: &Places) -> Result<BTreeSet<String>> {
    let mut seen = BTreeSet::new();
    files::mounts(places, &mut seen)?;
    files::entries(places, &mut seen)?;
    files::addresses(places, &mut seen)?;
    files::cgroups(places, &mut seen)?;
    links::interfaces(&mut seen)?;
    firewall::chains(&mut seen)?;
    processes::processes(places, &mut seen)?;
    Ok(seen)
}
