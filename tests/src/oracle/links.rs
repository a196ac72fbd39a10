//! Interfaces.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::outside;

/// All interfaces of the node that are no bridge.
pub(super) fn interfaces(seen: &mut BTreeSet<String>) -> Result<()> {
    let json = outside::output(Command::new("ip").args(["-json", "-details", "link", "show"]))?;
    let links: Vec<Value> = serde_json::from_str(&json).context("ip -json link")?;
    for link in links {
        let kind = link["linkinfo"]["info_kind"].as_str().unwrap_or("link");
        if kind != "bridge" {
            let name = link["ifname"].as_str().context("a link's name")?;
            seen.insert(format!("interface {name} ({kind})"));
        }
    }
    Ok(())
}
