//! What a pod looks like to somebody who does not know Podwalk.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// An interface as `ip` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its hardware address, in lower case with colons.
    pub mac: String,
    /// Whether it is up.
    pub is_up: bool,
    /// Its addresses with their prefix lengths in bits, without link-local ones.
    pub addresses: Vec<(IpAddr, u8)>,
}

/// The interfaces in the namespace that is pinned on `file` below `/run/netns`, asked by `ip -n`.
///
/// # Errors
/// If `ip` fails, for example because no namespace is on the file.
pub fn interfaces(file: &Path) -> Result<Vec<Interface>> {
    let shown = ip_in(file, &["address", "show"])?;
    let links = shown.as_array().context("ip address shows a list")?;
    links.iter().map(interface).collect()
}

/// The default routes' next hops in the namespace on `file`, of both families.
///
/// # Errors
/// If `ip` fails.
pub fn gateways(file: &Path) -> Result<BTreeSet<IpAddr>> {
    let mut found = BTreeSet::new();
    for family in ["-4", "-6"] {
        let routes = ip_in(file, &[family, "route", "show", "default"])?;
        for route in routes.as_array().into_iter().flatten() {
            if let Some(gateway) = route["gateway"].as_str() {
                found.insert(gateway.parse()?);
            }
        }
    }
    Ok(found)
}

/// How many mounts lie on `file`, one over the other, asked by `findmnt`.
///
/// # Errors
/// If `findmnt` cannot be run or its answer cannot be read.
pub fn mounts_on(file: &Path) -> Result<usize> {
    let wanted = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let targets = mounts()?.into_iter().map(|mount| mount.target);
    Ok(targets.filter(|target| Path::new(target) == wanted).count())
}

/// One mount as `findmnt` shows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mount {
    /// Where it is.
    pub target: String,
    /// The file system's type.
    pub kind: String,
    /// The device, or `nsfs[net:[INODE]]`.
    pub source: String,
}

/// All mounts of this mount namespace.
///
/// # Errors
/// If `findmnt` cannot be run or its answer cannot be read.
pub fn mounts() -> Result<Vec<Mount>> {
    let json = output(Command::new("findmnt").args([
        "--json",
        "--list",
        "--output",
        "TARGET,FSTYPE,SOURCE",
    ]))?;
    let json: Value = serde_json::from_str(&json).context("findmnt --json")?;
    let rows = json["filesystems"].as_array().context("findmnt's list")?;
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let mount = |row: &Value| Mount {
        target: text(row, "target"),
        kind: text(row, "fstype"),
        source: text(row, "source"),
    };
    Ok(rows.iter().map(mount).collect())
}

/// The network namespace that a process is in, as `net:[INODE]`.
///
/// # Errors
/// If there is no such process.
pub fn namespace_of_process(pid: u64) -> Result<String> {
    let link = format!("/proc/{pid}/ns/net");
    let target = std::fs::read_link(&link).context(link)?;
    Ok(target.to_string_lossy().into_owned())
}

/// The network namespace that is pinned on `file`, as `net:[INODE]`; `None` if none is.
///
/// # Errors
/// If `findmnt` cannot be run, or more than one mount lies there.
pub fn namespace_on(file: &Path) -> Result<Option<String>> {
    let wanted = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let mut here = mounts()?
        .into_iter()
        .filter(|mount| Path::new(&mount.target) == wanted);
    let Some(mount) = here.next() else {
        return Ok(None);
    };
    ensure!(here.next().is_none(), "{} is stacked", file.display());
    let inner = mount.source.strip_prefix("nsfs[");
    Ok(inner
        .and_then(|inner| inner.strip_suffix(']'))
        .map(str::to_owned))
}

/// Whether `address` answers one echo request sent from this process's namespace.
///
/// # Errors
/// If `ping` cannot be run.
pub fn answers(address: IpAddr) -> Result<bool> {
    let mut command = Command::new("ping");
    command.args(["-q", "-c", "1", "-W", "5", &address.to_string()]);
    let ran = command.output().context("ping, from iputils-ping")?;
    Ok(ran.status.success())
}

/// Runs a command and gives what it printed.
///
/// # Errors
/// If it cannot be run or fails, with what it wrote to stderr.
pub fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let ran = command.output().with_context(|| name.clone())?;
    let said = String::from_utf8_lossy(&ran.stderr);
    ensure!(ran.status.success(), "{name}: {}: {said}", ran.status);
    Ok(String::from_utf8_lossy(&ran.stdout).into_owned())
}

fn ip_in(file: &Path, arguments: &[&str]) -> Result<Value> {
    let name = file.file_name().context("a namespace's file")?;
    ensure!(
        file.parent()
            .is_some_and(|parent| parent.ends_with("run/netns")),
        "ip -n looks only below /run/netns, not at {}",
        file.display()
    );
    let mut command = Command::new("ip");
    command.arg("-n").arg(name).arg("-json").args(arguments);
    let json = output(&mut command)?;
    // `ip` prints nothing at all for an empty list in some versions.
    let json = if json.trim().is_empty() { "[]" } else { &json };
    serde_json::from_str(json).context("ip -json")
}

fn interface(link: &Value) -> Result<Interface> {
    let text = |key: &str| link[key].as_str().unwrap_or_default().to_owned();
    let has = |flag: &str| {
        let mut flags = link["flags"].as_array().into_iter().flatten();
        flags.any(|one| one == flag)
    };
    let mut addresses = Vec::new();
    for address in link["addr_info"].as_array().into_iter().flatten() {
        if address["scope"] == "link" {
            continue;
        }
        let local = address["local"].as_str().context("an address's local")?;
        let length = address["prefixlen"].as_u64().context("a prefix length")?;
        addresses.push((local.parse()?, u8::try_from(length)?));
    }
    Ok(Interface {
        name: text("ifname"),
        mac: text("address"),
        is_up: has("UP"),
        addresses,
    })
}
