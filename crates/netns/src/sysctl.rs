//! Which sysctls a pod may ask for, and whose they are.
//!
//! The rules are Kubernetes' ("Using sysctls in a Kubernetes Cluster"): a short list is safe, that is,
//! set for one pod it can neither reach another nor harm the node; the rest only where the operator
//! allowed it, by name or by a pattern that ends in `*`; and only sysctls that the kernel keeps per
//! namespace at all. Names are dotted; the form with slashes is refused rather than translated, so
//! that a name can never walk out of `/proc/sys`.

/// Sysctls that any pod may set.
pub const SAFE_SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];

/// The namespace that keeps a sysctl, and with it who sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SysctlScope {
    /// The network namespace: [`set_sysctls`](crate::set_sysctls) sets it there.
    Network,
    /// The IPC namespace: the OCI runtime sets it, from the bundle's `linux.sysctl`.
    Ipc,
}

/// A sysctl was refused; nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The name is not of the form `area.part.leaf` (letters, digits, `_` and `-` between dots).
    #[error("'{name}' is no sysctl name; write it with dots, such as net.ipv4.tcp_syncookies")]
    Name {
        /// The name as given.
        name: String,
    },
    /// The kernel keeps this sysctl once for the whole node.
    #[error("sysctl {name} belongs to the whole node, not to a pod; set it on the node")]
    Node {
        /// The sysctl.
        name: String,
    },
    /// The sysctl is not on the safe list and the configuration does not allow it.
    #[error(
        "sysctl {name} is not safe for a pod and not allowed here; the operator can allow it by name or pattern in the configuration"
    )]
    Unsafe {
        /// The sysctl.
        name: String,
    },
    /// The OCI runtime sets this sysctl, not the network's configuration.
    #[error("sysctl {name} lives in the IPC namespace; hand it to the runtime")]
    NotNetwork {
        /// The sysctl.
        name: String,
    },
    /// The value has a control character in it, or is longer than the kernel's one page.
    #[error(
        "the value of sysctl {name} has a control character in it or is too long; write one line"
    )]
    Value {
        /// The sysctl.
        name: String,
    },
}

/// Says whose the sysctl `name` is, if a pod may set it.
///
/// `allowed` holds what the operator allows beyond the safe list: names, and patterns that end in
/// `*` (`net.core.*`). A pattern never allows a sysctl of the node's.
///
/// # Errors
/// [`Refused::Name`], [`Refused::Node`] or [`Refused::Unsafe`].
pub fn check_sysctl(name: &str, allowed: &[String]) -> Result<SysctlScope, Refused> {
    if !is_name(name) {
        return Err(Refused::Name {
            name: name.to_owned(),
        });
    }
    let scope = scope(name).ok_or_else(|| Refused::Node {
        name: name.to_owned(),
    })?;
    let matches = |pattern: &String| match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == pattern,
    };
    if SAFE_SYSCTLS.contains(&name) || allowed.iter().any(matches) {
        Ok(scope)
    } else {
        Err(Refused::Unsafe {
            name: name.to_owned(),
        })
    }
}

/// The file of the network sysctl `name` beneath `/proc/sys`, if name and value can be written.
///
/// Whether a pod may ask for it was decided earlier, by [`check_sysctl`] on its specification.
pub(crate) fn network_file(name: &str, value: &str) -> Result<String, Refused> {
    if !is_name(name) {
        return Err(Refused::Name {
            name: name.to_owned(),
        });
    }
    match scope(name) {
        Some(SysctlScope::Network) => {}
        Some(SysctlScope::Ipc) => {
            return Err(Refused::NotNetwork {
                name: name.to_owned(),
            });
        }
        None => {
            return Err(Refused::Node {
                name: name.to_owned(),
            });
        }
    }
    // The kernel takes one write of at most a page; a tab separates the parts of some values.
    let printable = value
        .chars()
        .all(|letter| letter == '\t' || !letter.is_control());
    if !printable || value.len() > 4095 {
        return Err(Refused::Value {
            name: name.to_owned(),
        });
    }
    Ok(format!("/proc/sys/{}", name.replace('.', "/")))
}

/// Whether `name` is dotted parts of letters, digits, `_` and `-`, at least two of them.
fn is_name(name: &str) -> bool {
    let letter = |letter: u8| letter.is_ascii_alphanumeric() || letter == b'_' || letter == b'-';
    let part = |part: &str| !part.is_empty() && part.bytes().all(letter);
    name.len() <= 253 && name.contains('.') && name.split('.').all(part)
}

/// The namespace that keeps the sysctl, if it is kept per namespace.
fn scope(name: &str) -> Option<SysctlScope> {
    const IPC: [&str; 3] = ["kernel.shm", "kernel.msg", "fs.mqueue."];
    if name.starts_with("net.") {
        Some(SysctlScope::Network)
    } else if name == "kernel.sem" || IPC.iter().any(|prefix| name.starts_with(prefix)) {
        Some(SysctlScope::Ipc)
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
