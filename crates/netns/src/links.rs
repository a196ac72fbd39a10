//! Interfaces and addresses inside a namespace, by route netlink.

use std::io;
use std::net::IpAddr;
use std::path::Path;

use futures_util::TryStreamExt;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use rtnetlink::{Handle, LinkUnspec};

use crate::enter::enter;
use crate::error::Error;
use crate::point;

/// An interface of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its name (`lo`, `eth0`).
    pub name: String,
    /// Its index within the namespace.
    pub index: u32,
    /// Its hardware address in the usual notation (`02:42:ac:11:00:02`); empty if it has none.
    pub mac: String,
    /// Whether it is administratively up (`IFF_UP`).
    pub up: bool,
    /// Whether it is the loopback interface (`IFF_LOOPBACK`).
    pub loopback: bool,
    /// Its addresses, in the kernel's order.
    pub addresses: Vec<Address>,
}

/// An address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The interface's own address, on a point-to-point link too.
    pub address: IpAddr,
    /// The length of its prefix in bits.
    pub prefix: u8,
    /// How far it is valid.
    pub scope: Scope,
}

/// How far an address is valid (`rtnetlink(7)`, `ifa_scope`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everywhere.
    Global,
    /// Within the site.
    Site,
    /// On the link (`fe80::/10`).
    Link,
    /// Within the namespace (`127.0.0.1`, `::1`).
    Host,
    /// A number that the operator gave a meaning, or the kernel's 'nowhere' (255).
    Other(u8),
}

/// Sets the loopback interface of the namespace on `path` up. May be repeated.
///
/// # Errors
/// As [`enter`]; [`Error::NoLoopback`] if there is none, [`Error::System`] if the kernel refuses.
pub fn lo_up(path: &Path) -> Result<(), Error> {
    with_netlink(path, async |handle: Handle| {
        let loopback = all_links(&handle, path)
            .await?
            .into_iter()
            .find(|link| link.header.flags.contains(LinkFlags::Loopback))
            .ok_or_else(|| Error::NoLoopback {
                path: path.to_path_buf(),
            })?;
        let up = LinkUnspec::new_with_index(loopback.header.index)
            .up()
            .build();
        let answer = handle.link().set(up).execute().await;
        answer.map_err(|error| netlink("set lo up in", path, error))?;
        point::reached("netns.lo_up");
        Ok(())
    })
}

/// Every interface of the namespace on `path` with its addresses, by index.
///
/// # Errors
/// As [`enter`]; [`Error::System`] if netlink cannot be used.
pub fn links(path: &Path) -> Result<Vec<Link>, Error> {
    with_netlink(path, async |handle: Handle| {
        addressed_links(&handle, path).await
    })
}

/// Gives an interface of the namespace on `path` those of `addresses` (with their prefix lengths in
/// bits) that it does not have. Without such an interface there is nothing to do; may be repeated.
///
/// # Errors
/// As [`enter`]; [`Error::System`] if the kernel refuses.
pub fn give_addresses(
    path: &Path,
    interface: &str,
    addresses: &[(IpAddr, u8)],
) -> Result<(), Error> {
    with_netlink(path, async |handle: Handle| {
        let links = addressed_links(&handle, path).await?;
        let Some(link) = links.into_iter().find(|link| link.name == interface) else {
            return Ok(());
        };
        let own: Vec<_> = link
            .addresses
            .iter()
            .map(|a| (a.address, a.prefix))
            .collect();
        let lacking = addresses.iter().filter(|address| !own.contains(*address));
        for (address, prefix) in lacking {
            let add = handle.address().add(link.index, *address, *prefix);
            let answer = add.replace().execute().await;
            answer.map_err(|error| netlink("add an address in", path, error))?;
            point::reached("netns.address.given");
        }
        Ok(())
    })
}

/// Runs `work` inside the namespace with a netlink connection that was made there.
///
/// The runtime has one thread, the one that entered, so nothing of it is left in the namespace.
pub(crate) fn with_netlink<T: Send>(
    path: &Path,
    work: impl AsyncFnOnce(Handle) -> Result<T, Error> + Send,
) -> Result<T, Error> {
    enter(path, || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .map_err(Error::system("start netlink in", path))?;
        runtime.block_on(async {
            let (connection, handle, _) =
                rtnetlink::new_connection().map_err(Error::system("open netlink in", path))?;
            let connection = tokio::spawn(connection);
            let answer = work(handle).await;
            connection.abort();
            answer
        })
    })?
}

/// Every interface as the kernel sends it.
pub(crate) async fn all_links(handle: &Handle, path: &Path) -> Result<Vec<LinkMessage>, Error> {
    let links = handle.link().get().execute().try_collect().await;
    links.map_err(|error| netlink("list the interfaces in", path, error))
}

/// Every interface with its addresses, by index.
async fn addressed_links(handle: &Handle, path: &Path) -> Result<Vec<Link>, Error> {
    let mut links: Vec<Link> = all_links(handle, path).await?.iter().map(link).collect();
    let addresses = handle.address().get().execute().try_collect().await;
    let addresses: Vec<AddressMessage> =
        addresses.map_err(|error| netlink("list the addresses in", path, error))?;
    for message in &addresses {
        let mut owners = links.iter_mut();
        let owner = owners.find(|link| link.index == message.header.index);
        if let (Some(link), Some(address)) = (owner, address(message)) {
            link.addresses.push(address);
        }
    }
    links.sort_by_key(|link| link.index);
    Ok(links)
}

fn link(message: &LinkMessage) -> Link {
    let flags = message.header.flags;
    let mut link = Link {
        name: String::new(),
        index: message.header.index,
        mac: String::new(),
        up: flags.contains(LinkFlags::Up),
        loopback: flags.contains(LinkFlags::Loopback),
        addresses: Vec::new(),
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Address(octets) => link.mac = mac(octets),
            _ => {}
        }
    }
    link
}

fn mac(octets: &[u8]) -> String {
    let pairs: Vec<String> = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    pairs.join(":")
}

/// `IFA_LOCAL` is the interface's own address; on a point-to-point link `IFA_ADDRESS` is the peer's.
/// IPv6 sends `IFA_LOCAL` only there.
fn address(message: &AddressMessage) -> Option<Address> {
    let mut own = None;
    let mut other = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => own = Some(*address),
            AddressAttribute::Address(address) => other = Some(*address),
            _ => {}
        }
    }
    Some(Address {
        address: own.or(other)?,
        prefix: message.header.prefix_len,
        scope: scope(message.header.scope),
    })
}

fn scope(scope: AddressScope) -> Scope {
    match scope {
        AddressScope::Universe => Scope::Global,
        AddressScope::Site => Scope::Site,
        AddressScope::Link => Scope::Link,
        AddressScope::Host => Scope::Host,
        other => Scope::Other(other.into()),
    }
}

/// A netlink answer as a failed step on the namespace's file.
fn netlink(step: &'static str, path: &Path, error: rtnetlink::Error) -> Error {
    let source = match error {
        rtnetlink::Error::NetlinkError(answer) => answer.to_io(),
        other => io::Error::other(other),
    };
    Error::system(step, path)(source)
}

#[cfg(test)]
mod tests;
