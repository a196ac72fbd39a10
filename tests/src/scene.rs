//! A node with networks and a daemon, and what must be true in it of every pod.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::conflist::Bridge;
use crate::daemon::{Client, Config, Daemon};
use crate::oracle::{Oracle, Places};
use crate::{handlers, outside};

/// A daemon in a node, watched by an oracle from before its first breath.
#[derive(Debug)]
pub struct Scene {
    oracle: Oracle,
    daemon: Daemon,
}

impl Scene {
    /// Writes the networks, the first of which is the default one, and starts a daemon.
    ///
    /// # Errors
    /// If the daemon does not become ready.
    pub fn open(networks: &[Bridge]) -> Result<Self> {
        Self::open_with(&Config::default(), networks)
    }

    /// [`open`](Self::open) with a configuration.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(config: &Config, networks: &[Bridge]) -> Result<Self> {
        for (network, order) in networks.iter().zip(10..) {
            network.write(&config.cni_conf_dir, order)?;
        }
        let oracle = Oracle::new(Places::of(config)?)?;
        let daemon = Daemon::start(config)?;
        Ok(Self { oracle, daemon })
    }

    /// A client of the daemon.
    #[must_use]
    pub fn client(&self) -> Client {
        self.daemon.client()
    }

    /// The daemon.
    #[must_use]
    pub fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// The oracle.
    #[must_use]
    pub fn oracle(&self) -> &Oracle {
        &self.oracle
    }

    /// Ends the daemon with `end` and starts another with the same configuration.
    ///
    /// # Errors
    /// If the one does not end or the other does not become ready.
    pub fn restart(self, end: End) -> Result<Self> {
        let config = self.daemon.config().clone();
        self.end(end)?.begin(&config)
    }

    /// Ends the daemon with `end`; its pods run on.
    ///
    /// # Errors
    /// If it does not end.
    pub fn end(self, end: End) -> Result<Interval> {
        let mut daemon = self.daemon;
        match end {
            End::Terminate => {
                let status = daemon.terminate()?;
                ensure!(status.success(), "SIGTERM ended the daemon with {status}");
            }
            End::Kill => daemon.kill9()?,
            End::Awaited => {
                let ended = daemon.await_end(Duration::from_secs(60))?;
                let status = ended.context("the daemon does not end by itself")?;
                ensure!(status.success(), "the daemon ended with {status}");
            }
        }
        Ok(Interval {
            oracle: self.oracle,
        })
    }

    /// Ends the daemon and expects that it and its pods have left nothing, and that it has not
    /// panicked.
    ///
    /// # Errors
    /// What is left, or its log.
    pub fn close(self) -> Result<()> {
        let rows = self.client().list(true)?;
        ensure!(rows.is_empty(), "there are pods left: {rows:?}");
        self.daemon.has_not_panicked()?;
        let status = self.daemon.terminate()?;
        ensure!(status.success(), "SIGTERM ended the daemon with {status}");
        self.oracle.assert_clean()
    }
}

/// How a daemon is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// SIGTERM, and a wait.
    Terminate,
    /// SIGKILL.
    Kill,
    /// Nothing more: it was told already.
    Awaited,
}

/// The time between two daemons, while pods run on and an oracle watches.
#[derive(Debug)]
pub struct Interval {
    oracle: Oracle,
}

impl Interval {
    /// Starts the next daemon.
    ///
    /// # Errors
    /// If it does not become ready.
    pub fn begin(self, config: &Config) -> Result<Scene> {
        Ok(Scene {
            oracle: self.oracle,
            daemon: Daemon::start(config)?,
        })
    }
}

/// What `inspect` says of a pod's default interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// `SandboxKey`.
    pub key: PathBuf,
    /// The sandbox's process.
    pub pid: u64,
    /// `IPAddress` and `GlobalIPv6Address` with their prefix lengths in bits, as far as there are.
    pub addresses: Vec<(IpAddr, u8)>,
    /// `Gateway` and `IPv6Gateway`, as far as there are.
    pub gateways: BTreeSet<IpAddr>,
    /// `MacAddress`.
    pub mac: String,
}

impl Told {
    /// Reads the answer of `inspect`.
    ///
    /// # Errors
    /// If a key is missing or holds no such thing.
    pub fn by(inspected: &Value) -> Result<Self> {
        let settings = &inspected["networkSettings"];
        let text = |key: &str| -> Result<&str> {
            let value = settings[key].as_str();
            value.with_context(|| format!("networkSettings.{key} is no string"))
        };
        let mut told = Self {
            key: text("SandboxKey")?.into(),
            pid: inspected["sandbox"]["pid"]
                .as_u64()
                .context("sandbox.pid")?,
            addresses: Vec::new(),
            gateways: BTreeSet::new(),
            mac: text("MacAddress")?.to_owned(),
        };
        let families = [
            ("IPAddress", "IPPrefixLen", "Gateway"),
            ("GlobalIPv6Address", "GlobalIPv6PrefixLen", "IPv6Gateway"),
        ];
        for (address, length, gateway) in families {
            if !text(address)?.is_empty() {
                let length = settings[length].as_u64().context(length)?;
                let address = text(address)?.parse()?;
                told.addresses.push((address, u8::try_from(length)?));
            }
            if !text(gateway)?.is_empty() {
                told.gateways.insert(text(gateway)?.parse()?);
            }
        }
        Ok(told)
    }
}

/// Expects that a running pod is what `inspect` says, seen from outside: one namespace is pinned on
/// its file; the sandbox is in it; `eth0` there has the hardware address and the addresses; the
/// default routes go by the gateways; each address of version 4 answers. Where a handler has a
/// network stack of its own ([`handlers`]), the namespace must have no address any more: what
/// answers then is inside the sandbox.
///
/// # Errors
/// The first thing that is otherwise.
pub fn agrees_with_outside(inspected: &Value) -> Result<Told> {
    ensure!(inspected["state"] == "Started", "{:#}", inspected);
    ensure!(inspected["ready"] == true, "{inspected:#}");
    let told = Told::by(inspected)?;
    let pinned = outside::namespace_on(&told.key)?;
    let pinned = pinned.with_context(|| format!("nothing on {}", told.key.display()))?;
    let within = outside::namespace_of_process(told.pid)?;
    ensure!(
        pinned == within,
        "{pinned} is pinned, but the sandbox is in {within}"
    );
    let interfaces = outside::interfaces(&told.key)?;
    let find = |name: &str| interfaces.iter().find(|one| one.name == name);
    let lo = find("lo").context("no lo")?;
    ensure!(lo.is_up, "lo is down");
    let eth0 = find("eth0").context("no eth0")?;
    ensure!(
        eth0.is_up && eth0.mac == told.mac,
        "{eth0:?} is not {told:?}"
    );
    let handler = inspected["runtimeHandler"].as_str().unwrap_or_default();
    let found: BTreeSet<_> = eth0.addresses.iter().copied().collect();
    let gateways = outside::gateways(&told.key)?;
    let (mut addresses, mut routes) = (
        told.addresses.iter().copied().collect::<BTreeSet<_>>(),
        told.gateways.clone(),
    );
    if handlers::has_own_stack(handler) {
        addresses.clear();
        // The kernel takes a route of version 4 away with its address.
        routes.retain(IpAddr::is_ipv6);
    }
    ensure!(found == addresses, "{eth0:?} is not {told:?}");
    ensure!(gateways == routes, "{gateways:?} is not {told:?}");
    for (address, _) in told.addresses.iter().filter(|(one, _)| one.is_ipv4()) {
        ensure!(outside::answers(*address)?, "{address} does not answer");
    }
    Ok(told)
}

/// Expects what holds of a stopped pod: its file is there with nothing mounted on it, and its sandbox
/// is gone.
///
/// # Errors
/// The first thing that is otherwise.
pub fn is_stopped(told: &Told) -> Result<()> {
    let key = &told.key;
    ensure!(key.is_file(), "{} is gone", key.display());
    ensure!(
        fs::metadata(key)?.len() == 0,
        "{} is not empty",
        key.display()
    );
    let mounts = outside::mounts_on(key)?;
    ensure!(mounts == 0, "{mounts} mounts are on {}", key.display());
    let process = format!("/proc/{}", told.pid);
    ensure!(
        !Path::new(&process).exists(),
        "the sandbox {} lives",
        told.pid
    );
    Ok(())
}
