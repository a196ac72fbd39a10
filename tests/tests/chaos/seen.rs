//! What the node shows of all pods together: each thing has its pod, each pod its things.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use podwalk_tests::daemon::Config;
use podwalk_tests::{outside, scene, wait};
use serde_json::Value;

use super::{MARKS, PATIENCE};

/// What must be there for the pods in a list.
#[derive(Debug, Default, PartialEq, Eq)]
struct Things {
    files: BTreeSet<String>,
    addresses: BTreeMap<String, usize>,
    marks: BTreeSet<String>,
    sandboxes: BTreeSet<String>,
    bundles: BTreeSet<String>,
}

/// Expects exactly what the rows of the list must have; no row may be on its way. Pods of an earlier
/// boot have nothing at all.
///
/// # Errors
/// The first kind of thing that differs, with both sides.
pub(super) fn everything_has_its_pod(
    config: &Config,
    rows: &[Value],
    rebooted: bool,
) -> Result<()> {
    let mut owed = Things::default();
    for row in rows {
        let id = row["id"].as_str().context("id")?.to_owned();
        let (mode, started) = (row["networkMode"].as_str(), row["state"] == "Started");
        if matches!(mode, Some("cni" | "none")) && !rebooted {
            owed.files.insert(id.clone());
        }
        if mode == Some("cni") && started {
            owed.addresses.insert(id.clone(), 2);
            owed.marks.insert(id.clone());
        }
        if started {
            owed.sandboxes.insert(id.clone());
            owed.bundles.insert(id);
        }
    }
    if rebooted {
        torn_addresses_are_given_back()?;
    }
    let there = Things {
        files: names(&config.netns_dir)?,
        addresses: addresses()?,
        marks: names(Path::new(MARKS))?,
        sandboxes: names(&config.run_dir.join("runtimes/crun"))?,
        bundles: names(&config.run_dir.join("bundles"))?,
    };
    ensure!(owed == there, "owed: {owed:#?}\nthere: {there:#?}");
    Ok(())
}

/// Expects that the firewall knows the pods with host ports, and no others.
///
/// # Errors
/// Both sides.
pub(super) fn ports_have_their_pod(with_ports: &BTreeSet<String>) -> Result<()> {
    let mut command = Command::new("iptables-save");
    let rules = outside::output(command.args(["-t", "nat"]))?;
    let ids = rules.split("id: \\\"").skip(1);
    let ids: BTreeSet<String> = ids
        .filter_map(|rest| rest.split("\\\"").next())
        .map(ToOwned::to_owned)
        .collect();
    ensure!(ids == *with_ports, "ports of {ids:?} for {with_ports:?}");
    Ok(())
}

/// Expects of a running pod what its mode promises; gives its process.
///
/// # Errors
/// The first thing that is otherwise.
pub(super) fn is_as_told(pod: &Value, owner_key: Option<&Path>) -> Result<(u64, String)> {
    let key = pod["networkSettings"]["SandboxKey"].as_str();
    let pid = pod["sandbox"]["pid"].as_u64().context("sandbox.pid")?;
    ensure!(pod["state"] == "Started" && pod["ready"] == true, "{pod:#}");
    let within = outside::namespace_of_process(pid)?;
    let key = Path::new(key.context("SandboxKey")?);
    match pod["networkMode"].as_str().context("networkMode")? {
        "cni" => {
            let told = scene::agrees_with_outside(pod)?;
            return Ok((pid, format!("{told:?}")));
        }
        "none" => {
            let pinned = outside::namespace_on(key)?;
            ensure!(pinned == Some(within.clone()), "{pinned:?}, {within}");
            let interfaces = outside::interfaces(key)?;
            let only_lo = interfaces.iter().all(|one| one.name == "lo" && one.is_up);
            ensure!(only_lo && interfaces.len() == 1, "{interfaces:?}");
        }
        "host" => {
            let own = outside::namespace_of_process(1)?;
            ensure!(within == own, "{within} is not the host's {own}");
        }
        guest => {
            let owner = owner_key.with_context(|| format!("no owner of {guest}"))?;
            let pinned = outside::namespace_on(owner)?;
            ensure!(pinned == Some(within.clone()), "{pinned:?}, {within}");
        }
    }
    Ok((pid, within))
}

/// The names in a directory; none if it is not there.
fn names(directory: &Path) -> Result<BTreeSet<String>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(error).with_context(|| directory.display().to_string()),
    };
    let mut names = BTreeSet::new();
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        // All bundles share one copy of the sandbox's program.
        if name != ".pause" {
            names.insert(name);
        }
    }
    Ok(names)
}

/// Sees the daemon give back what host-local has torn: when the machine died the file of an address
/// was made, and it was not yet written whose it is, so that no DEL finds it. The network is declared
/// to be the daemon's alone; it does so soon after it has recovered.
fn torn_addresses_are_given_back() -> Result<()> {
    let torn = || -> Result<Vec<PathBuf>> {
        let mut files = address_files()?;
        files.retain(|path| fs::metadata(path).is_ok_and(|file| file.len() == 0));
        Ok(files)
    };
    wait::until(PATIENCE, || Ok(torn()?.is_empty().then_some(())))?
        .with_context(|| format!("still torn: {:?}", torn()))
}

/// How many addresses the daemon has given back so far, in all its lives.
pub(super) fn torn(config: &Config) -> Result<u64> {
    let log = fs::read_to_string(config.log()).context("the daemon's log")?;
    let given_back = log.matches("given back: it was never written whose address this is");
    Ok(given_back.count() as u64)
}

/// How many addresses host-local holds for each pod.
fn addresses() -> Result<BTreeMap<String, usize>> {
    let mut holders = BTreeMap::new();
    for path in address_files()? {
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let holder = text.lines().next().unwrap_or_default().trim();
        *holders.entry(holder.to_owned()).or_default() += 1;
    }
    Ok(holders)
}

/// host-local's files, one for each address that is held.
fn address_files() -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let networks = Path::new("/var/lib/cni/networks");
    for network in names(networks)? {
        let directory = networks.join(network);
        let names = names(&directory)?.into_iter();
        let addresses =
            names.filter(|name| name != "lock" && !name.starts_with("last_reserved_ip."));
        files.extend(addresses.map(|name| directory.join(name)));
    }
    Ok(files)
}
