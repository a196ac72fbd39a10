//! The bundle: the directory from which a runtime makes a sandbox.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use podwalk_pause::PAUSE;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::cgroup::CgroupsPath;
use crate::config::{Dns, SandboxConfig};
use crate::config_error::ConfigError;
use crate::id::SandboxId;
use crate::point;
use crate::spec::{HostFacts, LAYERED, spec};
use crate::target::Target;

/// The mount points in the root file system. They must exist, because it is read-only.
const MOUNT_POINTS: [&str; 4] = ["proc", "dev", "sys", "etc"];
/// The pause program is written once per directory of bundles, and linked from there.
const SHARED_PAUSE: &str = ".pause";
/// The prefix of a bundle that is not whole yet, or not any more. No id starts so.
const UNFINISHED: &str = ".unfinished-";
/// More is no resolver's configuration.
const RESOLV_CONF_LIMIT: u64 = 64 * 1024;

/// A bundle could not be written or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// What was asked for is not sound; change it.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// `config.json` cannot be expressed.
    #[error("cannot write the configuration of sandbox {id} as JSON: {source}")]
    Json {
        /// The sandbox.
        id: SandboxId,
        /// Why not.
        source: serde_json::Error,
    },
    /// A file cannot be written or removed.
    #[error(
        "cannot {verb} {}: {source}; see that the directory of bundles is writable and has space",
        path.display()
    )]
    File {
        /// What was tried.
        verb: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The root of the sandbox's user namespace, who is nobody outside, cannot get to the bundle.
    #[error(
        "the sandbox's user namespace cannot reach its bundle: {} is closed to other users; \
         chmod o+x it",
        path.display()
    )]
    Closed {
        /// The directory.
        path: PathBuf,
    },
    /// `/proc` does not tell about ourselves.
    #[error("cannot read from /proc what the sandbox inherits: {source}; mount /proc")]
    Facts {
        /// Why not.
        source: io::Error,
    },
}

/// Where shims log, a fifo (README of containerd's runtime v2).
pub(crate) const SHIM_LOG: &str = "log";
/// Where a runtime logs that is called by its command line.
const RUNTIME_LOG: &str = "create.log";

/// A bundle on disk, whole: `config.json`, and in `rootfs` the pause program, `etc/hosts`,
/// `etc/hostname` and `etc/resolv.conf`. For a user namespace the program is in `bin` instead,
/// beside `rootfs`. The bundle's directory has the sandbox's id for a name, as shims want it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    id: SandboxId,
    dir: PathBuf,
    cgroup: CgroupsPath,
    netns: Option<PathBuf>,
    user_namespace: Option<PathBuf>,
    annotations: BTreeMap<String, String>,
    pod_sandbox_config: Vec<u8>,
}

impl Bundle {
    /// Writes the bundle of `config` into the directory `bundles`, which is made if need be.
    ///
    /// At every moment there is no bundle, the old one or the new one. An old one, of whatever
    /// content, is replaced; none of a sandbox that runs may be, because the kernel takes the
    /// mounts off a directory that is removed. Blocks on the file system only.
    ///
    /// # Errors
    /// [`BundleError::Config`] if `config` is not sound, the others if the disk or `/proc` fails.
    pub fn write(config: &SandboxConfig, bundles: &Path) -> Result<Self, BundleError> {
        let facts = HostFacts::read().map_err(|source| BundleError::Facts { source })?;
        let dir = bundles.join(config.id.as_str());
        let spec = spec(config, &facts, &dir)?;
        if facts.oom_score_adj(config.oom_score_adj) != config.oom_score_adj {
            tracing::warn!(
                sandbox = %config.id,
                wanted = config.oom_score_adj,
                "the OOM score adjustment is left out: a lower one than ours needs CAP_SYS_RESOURCE"
            );
        }
        let json = serde_json::to_vec(&spec).map_err(|source| BundleError::Json {
            id: config.id.clone(),
            source,
        })?;

        make_dir(bundles)?;
        if config.user_namespace.is_some() {
            refuse_closed(bundles)?;
        }
        let unfinished = unfinished(bundles, &config.id);
        remove_dir(&unfinished)?;
        fill(config, bundles, &unfinished, &json)?;
        point::reached("oci.bundle.filled");
        put_in_place(&unfinished, &dir)?;
        point::reached("oci.bundle.written");
        remove_dir(&unfinished)?;
        Ok(Self {
            id: config.id.clone(),
            dir,
            cgroup: config.cgroups_path()?,
            netns: config.netns.clone(),
            user_namespace: config.user_namespace.clone().and_then(|user| user.path),
            annotations: config.told_annotations(),
            pod_sandbox_config: config.pod_sandbox_config.clone(),
        })
    }

    /// Removes the bundle of `id`, whole or not. Succeeds when there is none.
    ///
    /// # Errors
    /// [`BundleError::File`] with what cannot be removed.
    pub fn remove(bundles: &Path, id: &SandboxId) -> Result<(), BundleError> {
        remove_dir(&unfinished(bundles, id))?;
        remove_dir(&bundles.join(id.as_str()))?;
        point::reached("oci.bundle.removed");
        Ok(())
    }

    /// Who has begun to make the sandbox of `id`, as far as its bundle tells: a shim (`true`), whose
    /// log is made before it is started, or a runtime by its command line, which makes its own.
    pub fn begun_by_shim(bundles: &Path, id: &SandboxId) -> Option<bool> {
        let is_there = |name: &str| bundles.join(id.as_str()).join(name).exists();
        match is_there(SHIM_LOG) {
            true => Some(true),
            false => is_there(RUNTIME_LOG).then_some(false),
        }
    }

    /// The sandbox that it is for.
    pub fn id(&self) -> &SandboxId {
        &self.id
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What is known of its sandbox before it is started.
    pub(crate) fn target(&self) -> Target {
        Target {
            id: self.id.clone(),
            cgroup: self.cgroup.clone(),
            process: None,
            shim_address: None,
        }
    }

    /// The network namespace that it names, `None` for the host's network.
    pub fn netns(&self) -> Option<&Path> {
        self.netns.as_deref()
    }

    /// The user namespace that it names by a path.
    pub fn user_namespace(&self) -> Option<&Path> {
        self.user_namespace.as_deref()
    }

    /// The annotations in its `config.json`.
    pub(crate) fn annotations(&self) -> &BTreeMap<String, String> {
        &self.annotations
    }

    /// See [`SandboxConfig::pod_sandbox_config`]. It is not on disk: a bundle that was cut short is
    /// written anew.
    pub(crate) fn pod_sandbox_config(&self) -> &[u8] {
        &self.pod_sandbox_config
    }

    /// Where the runtime writes the pid.
    pub(crate) fn pid_file(&self) -> PathBuf {
        self.dir.join("pid")
    }

    /// Where the runtime writes why it failed.
    pub(crate) fn log_file(&self) -> PathBuf {
        self.dir.join(RUNTIME_LOG)
    }
}

/// Whether the process executes the pause program. It is told by its content: in a user namespace
/// an overlay gives the file another identity.
pub(crate) fn is_pause(pid: u32) -> bool {
    let exe = format!("/proc/{pid}/exe");
    let length = fs::metadata(&exe).map(|metadata| metadata.len());
    length.is_ok_and(|length| length == PAUSE.len() as u64)
        && fs::read(&exe).is_ok_and(|bytes| bytes == PAUSE)
}

/// runc prepares the root file system as the root of the user namespace, to whom our directories
/// are a stranger's. They are walked through and need not be listed.
fn refuse_closed(bundles: &Path) -> Result<(), BundleError> {
    let bundles = fs::canonicalize(bundles).map_err(failed("find", bundles))?;
    for directory in bundles.ancestors() {
        let metadata = fs::metadata(directory).map_err(failed("look at", directory))?;
        if metadata.mode() & 0o001 == 0 {
            let path = directory.to_owned();
            return Err(BundleError::Closed { path });
        }
    }
    Ok(())
}

fn unfinished(bundles: &Path, id: &SandboxId) -> PathBuf {
    bundles.join(format!("{UNFINISHED}{id}"))
}

fn fill(
    config: &SandboxConfig,
    bundles: &Path,
    directory: &Path,
    json: &[u8],
) -> Result<(), BundleError> {
    let rootfs = directory.join("rootfs");
    let mut directories = vec![directory.to_owned(), rootfs.clone()];
    directories.extend(MOUNT_POINTS.iter().map(|name| rootfs.join(name)));
    let mut pause = rootfs.join("pause");
    if config.user_namespace.is_some() {
        let layers = [directory.join(LAYERED), rootfs.join(LAYERED)];
        pause = layers[0].join("pause");
        directories.extend(layers);
    }
    for directory in directories {
        make_dir(&directory)?;
        // Whatever our umask: the pause program runs as a user who owns nothing in here.
        set_mode(&directory, 0o755)?;
    }
    let etc = rootfs.join("etc");
    let hostname = config.hostname.as_deref().unwrap_or_default();
    write_file(
        &etc.join("hostname"),
        format!("{hostname}\n").as_bytes(),
        0o644,
    )?;
    write_file(
        &etc.join("hosts"),
        hosts(hostname, &config.addresses).as_bytes(),
        0o644,
    )?;
    let resolv_conf = match &config.dns {
        Some(dns) => resolv_conf(dns).into_bytes(),
        None => host_resolv_conf(),
    };
    write_file(&etc.join("resolv.conf"), &resolv_conf, 0o644)?;
    install_pause(bundles, &pause)?;
    write_file(&directory.join("config.json"), json, 0o600)
}

/// Links the one pause program into a bundle.
///
/// A program that is open for writing cannot be executed (ETXTBSY), and a child that another
/// thread is just forking holds all that is open. So it is not written anew for each sandbox;
/// the sandboxes share its memory besides. Where links do not work it is copied.
fn install_pause(bundles: &Path, destination: &Path) -> Result<(), BundleError> {
    let shared = bundles.join(SHARED_PAUSE);
    if fs::read(&shared).is_ok_and(|bytes| bytes == PAUSE)
        && fs::hard_link(&shared, destination).is_ok()
    {
        return Ok(());
    }
    write_file(destination, PAUSE, 0o555)?;
    // The next bundle links it. Should this fail, that one copies again.
    let _ = fs::remove_file(&shared);
    let _ = fs::hard_link(destination, &shared);
    Ok(())
}

/// Puts the new directory in place of an old one, if there is one, which is then `new`.
fn put_in_place(new: &Path, place: &Path) -> Result<(), BundleError> {
    let first = renameat_with(CWD, new, CWD, place, RenameFlags::NOREPLACE);
    let done = match first {
        Err(Errno::EXIST) => renameat_with(CWD, new, CWD, place, RenameFlags::EXCHANGE),
        other => other,
    };
    done.map_err(|errno| failed("put in place", place)(errno.into()))
}

fn hosts(hostname: &str, addresses: &[IpAddr]) -> String {
    let mut hosts =
        String::from("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    if !hostname.is_empty() {
        hosts.extend(
            addresses
                .iter()
                .map(|address| format!("{address}\t{hostname}\n")),
        );
    }
    hosts
}

fn resolv_conf(dns: &Dns) -> String {
    let mut lines: Vec<String> = Vec::new();
    if !dns.searches.is_empty() {
        lines.push(format!("search {}\n", dns.searches.join(" ")));
    }
    lines.extend(
        dns.servers
            .iter()
            .map(|server| format!("nameserver {server}\n")),
    );
    if !dns.options.is_empty() {
        lines.push(format!("options {}\n", dns.options.join(" ")));
    }
    lines.concat()
}

/// The host's file. A host without one has a resolver without one, and so has the sandbox.
fn host_resolv_conf() -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = fs::File::open("/etc/resolv.conf").and_then(|file| {
        io::Read::read_to_end(&mut io::Read::take(file, RESOLV_CONF_LIMIT), &mut bytes)
    });
    read.map(|_| bytes).unwrap_or_default()
}

fn make_dir(path: &Path) -> Result<(), BundleError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o755);
    builder.create(path).map_err(failed("make", path))
}

fn write_file(path: &Path, bytes: &[u8], mode: u32) -> Result<(), BundleError> {
    let mut options = fs::OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(mode).open(path);
    opened
        .and_then(|mut file| file.write_all(bytes))
        .map_err(failed("write", path))?;
    set_mode(path, mode)
}

fn set_mode(path: &Path, mode: u32) -> Result<(), BundleError> {
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed("set the mode of", path))
}

/// Removes a directory with all that is in it. It follows no symbolic link out of it.
fn remove_dir(path: &Path) -> Result<(), BundleError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

fn failed(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BundleError {
    let path = path.to_owned();
    move |source| BundleError::File { verb, path, source }
}

#[cfg(test)]
mod tests;
