//! The checks behind [`SandboxConfig::check`](super::SandboxConfig::check).

use super::{Dns, NamespaceScope, SandboxConfig, SelinuxLabel};
use crate::config_error::ConfigError;

mod ids;
mod resources;

/// The kernel's limit of a host name, in bytes.
const HOSTNAME_MAX: usize = 64;

/// Settings of which each IPC namespace has its own.
const IPC_SYSCTLS: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shm_rmid_forced",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
];
const IPC_SYSCTL_PREFIX: &str = "fs.mqueue.";
/// The setting of which each UTS namespace has its own; the host name has its own field.
const UTS_SYSCTL: &str = "kernel.domainname";
/// Settings of which each network namespace has its own.
pub(crate) const NET_SYSCTL_PREFIX: &str = "net.";

pub(super) fn check(config: &SandboxConfig) -> Result<(), ConfigError> {
    config.hostname.as_deref().map_or(Ok(()), hostname)?;
    netns(config)?;
    config.dns.as_ref().map_or(Ok(()), dns)?;
    config.cgroups_path()?;
    for (name, value) in &config.sysctls {
        sysctl(config, name, value).map_err(|why| ConfigError::Sysctl {
            name: name.clone(),
            why,
        })?;
    }
    for (key, value) in config.annotations.iter().chain(&config.user_annotations) {
        if key.is_empty() || key.contains('\0') || value.contains('\0') {
            return Err(ConfigError::Annotation { key: key.clone() });
        }
    }
    config.apparmor.as_deref().map_or(Ok(()), apparmor)?;
    config.selinux.as_ref().map_or(Ok(()), selinux)?;
    ids::check(config)?;
    resources::check(&config.resources)?;
    match config.oom_score_adj {
        Some(value) if !(-1000..=1000).contains(&value) => Err(ConfigError::OomScoreAdj { value }),
        _ => Ok(()),
    }
}

fn hostname(hostname: &str) -> Result<(), ConfigError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let fits = (1..=HOSTNAME_MAX).contains(&hostname.len());
    if fits && hostname.bytes().all(allowed) {
        return Ok(());
    }
    Err(ConfigError::Hostname {
        hostname: hostname.to_owned(),
    })
}

fn netns(config: &SandboxConfig) -> Result<(), ConfigError> {
    match &config.netns {
        Some(path) if !path.is_absolute() || path.as_os_str().as_encoded_bytes().contains(&0) => {
            Err(ConfigError::Netns { path: path.clone() })
        }
        _ => Ok(()),
    }
}

/// A line break in an entry would add a line of the user's choosing, and a space an entry.
fn dns(dns: &Dns) -> Result<(), ConfigError> {
    let fields = [
        ("server", &dns.servers),
        ("search", &dns.searches),
        ("option", &dns.options),
    ];
    for (field, entries) in fields {
        let wrong = entries.iter().find(|entry| !is_word(entry));
        if let Some(entry) = wrong {
            let entry = entry.clone();
            return Err(ConfigError::Dns { field, entry });
        }
    }
    Ok(())
}

fn is_word(entry: &str) -> bool {
    !entry.is_empty() && !entry.contains(|c: char| c.is_whitespace() || c.is_control())
}

/// A profile's name may hold nearly anything; the kernel takes it in one line.
fn apparmor(profile: &str) -> Result<(), ConfigError> {
    if profile.is_empty() || profile.contains(char::is_control) {
        let profile = profile.to_owned();
        return Err(ConfigError::Apparmor { profile });
    }
    Ok(())
}

/// A colon in a part would move the parts after it. Only a level has colons of its own.
fn selinux(label: &SelinuxLabel) -> Result<(), ConfigError> {
    let parts = [
        ("user", &label.user, ""),
        ("role", &label.role, ""),
        ("type", &label.kind, ""),
        ("level", &label.level, ":,"),
    ];
    for (part, value, further) in parts {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        if !value.chars().all(|c| allowed(c) || further.contains(c)) {
            let value = value.clone();
            return Err(ConfigError::Selinux { part, value });
        }
    }
    Ok(())
}

/// A runtime writes the setting below `/proc/sys`. What no namespace of the sandbox's own holds
/// would change the host.
fn sysctl(config: &SandboxConfig, name: &str, value: &str) -> Result<(), &'static str> {
    if value.contains(['\0', '\n']) {
        return Err("its value is not one line");
    }
    if name.contains("..") || name.contains(['/', '\0']) || name.ends_with('.') {
        return Err("it is no dotted name");
    }
    let own_network = config.netns.is_some();
    let own_uts = own_network || config.hostname.is_some();
    if name.starts_with(NET_SYSCTL_PREFIX) {
        return own(own_network, "the sandbox uses the host's network");
    }
    if name.starts_with(IPC_SYSCTL_PREFIX) || IPC_SYSCTLS.contains(&name) {
        let own_ipc = config.ipc == NamespaceScope::Pod;
        return own(own_ipc, "the sandbox uses the host's IPC namespace");
    }
    if name == UTS_SYSCTL {
        return own(own_uts, "the sandbox uses the host's UTS namespace");
    }
    Err("it belongs to the whole machine")
}

fn own(own: bool, why: &'static str) -> Result<(), &'static str> {
    if own { Ok(()) } else { Err(why) }
}
