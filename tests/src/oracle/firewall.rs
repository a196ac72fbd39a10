//! Chains that CNI plugins make for one container, in iptables and in nftables.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::outside;

/// The chains that portmap makes once and keeps, for all containers.
const SHARED: [&str; 4] = [
    "CNI-HOSTPORT-DNAT",
    "CNI-HOSTPORT-SETMARK",
    "CNI-HOSTPORT-MASQ",
    "CNI-FORWARD",
];

/// Every chain of a CNI plugin that is not shared, and every rule that goes to one.
pub(super) fn chains(seen: &mut BTreeSet<String>) -> Result<()> {
    for tool in ["iptables-save", "ip6tables-save"] {
        let saved = outside::output(&mut Command::new(tool))?;
        for line in saved.lines() {
            seen.extend(own_of(line).map(|what| format!("{tool}: {what}")));
        }
    }
    let json = outside::output(Command::new("nft").args(["--json", "list", "chains"]))?;
    let json: Value = serde_json::from_str(&json).context("nft --json")?;
    for object in json["nftables"].as_array().into_iter().flatten() {
        let chain = &object["chain"];
        let word = |key: &str| chain[key].as_str().unwrap_or_default();
        if is_own(word("name")) {
            seen.insert(format!(
                "nft: chain {} {} {}",
                word("family"),
                word("table"),
                word("name")
            ));
        }
    }
    Ok(())
}

/// What a line of `iptables-save` says about one container's chain: that it is there, or a rule that
/// jumps to it from a chain of all.
fn own_of(line: &str) -> Option<String> {
    if let Some(chain) = line.strip_prefix(':') {
        let name = chain.split(' ').next().filter(|name| is_own(name))?;
        return Some(format!("chain {name}"));
    }
    // The last one: a comment before it may hold anything.
    let (_, jump) = line.rsplit_once(" -j ")?;
    let target = jump.split(' ').next().filter(|target| is_own(target))?;
    Some(format!("rule to {target}: {line}"))
}

fn is_own(chain: &str) -> bool {
    let name = chain.to_ascii_uppercase();
    name.starts_with("CNI-") && !SHARED.contains(&name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_of_a_container_is_seen_and_the_shared_ones_are_not() {
        assert_eq!(
            own_of(":CNI-DN-4a9b1 - [0:0]").as_deref(),
            Some("chain CNI-DN-4a9b1")
        );
        assert_eq!(own_of(":CNI-HOSTPORT-DNAT - [0:0]"), None);
        assert_eq!(own_of(":POSTROUTING ACCEPT [0:0]"), None);
    }

    #[test]
    fn a_rule_to_a_container_s_chain_is_seen() {
        let rule = "-A POSTROUTING -s 10.1.0.2/32 -m comment --comment \"a -j b\" -j CNI-12ab";
        assert_eq!(own_of(rule), Some(format!("rule to CNI-12ab: {rule}")));
        assert_eq!(own_of("-A OUTPUT -j CNI-HOSTPORT-DNAT"), None);
        assert_eq!(own_of("COMMIT"), None);
    }
}
