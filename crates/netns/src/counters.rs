//! What the links of a namespace have carried, by route netlink.

use std::path::Path;

use rtnetlink::Handle;
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkMessage, Stats64};

use crate::error::Error;
use crate::links::{all_links, with_netlink};

/// What a link has carried since it was made (`IFLA_STATS64` of `rtnetlink(7)`).
///
/// Each figure only grows, and starts anew with a link that is made anew under the same name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkCounters {
    /// The link's name (`eth0`).
    pub name: String,
    /// Bytes received, with the link's own header (Ethernet's 14 bytes).
    pub rx_bytes: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Packets received that were bad.
    pub rx_errors: u64,
    /// Packets received that found no room.
    pub rx_dropped: u64,
    /// Bytes sent, with the link's own header.
    pub tx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Packets that could not be sent.
    pub tx_errors: u64,
    /// Packets that were to be sent and found no room.
    pub tx_dropped: u64,
}

/// The counters of every link of the namespace on `path` but its loopback, by index.
///
/// # Errors
/// As [`enter`](crate::enter()); [`Error::System`] if netlink cannot be used.
pub fn counters(path: &Path) -> Result<Vec<LinkCounters>, Error> {
    let mut links = with_netlink(path, async |handle: Handle| all_links(&handle, path).await)?;
    links.sort_by_key(|link| link.header.index);
    Ok(links.iter().filter_map(of_link).collect())
}

/// The loopback has none, and neither has a link of which the kernel sent no name or no figures.
fn of_link(message: &LinkMessage) -> Option<LinkCounters> {
    if message.header.flags.contains(LinkFlags::Loopback) {
        return None;
    }
    let mut name = None;
    let mut figures: Option<&Stats64> = None;
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = Some(text),
            LinkAttribute::Stats64(stats) => figures = Some(stats),
            _ => {}
        }
    }
    let figures = figures?;
    Some(LinkCounters {
        name: name?.clone(),
        rx_bytes: figures.rx_bytes,
        rx_packets: figures.rx_packets,
        rx_errors: figures.rx_errors,
        rx_dropped: figures.rx_dropped,
        tx_bytes: figures.tx_bytes,
        tx_packets: figures.tx_packets,
        tx_errors: figures.tx_errors,
        tx_dropped: figures.tx_dropped,
    })
}

#[cfg(test)]
mod tests;
