//! A disk that can be pulled: a file system on a loop device, whose backing file is copied in one
//! instant.
//!
//! ```text
//! the node's disk (tmpfs) ── pulled-NODE ─┬─ shelf.xfs
//!                                         └─ shelf, where that is mounted
//!                                             ├─ drive-0: the backing file of the one in use
//!                                             └─ drive-1 …: what it was at other moments
//! ```
//!
//! What has reached the backing file is what a platter would hold if power failed. A copy that takes
//! time would mix two moments, and show what no power cut leaves; so the backing files lie on an XFS,
//! which clones a file at once while writers wait.
//!
//! Every loop device is one of `mount`'s own, which go with the last mount: whatever happens to the
//! test, its node's end takes them all.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::{node, outside, wait};

/// A guard against a hang, no measure of speed.
const PATIENCE: Duration = Duration::from_secs(60);
/// Programs that are needed, and the Debian packages that have them.
const TOOLS: [(&str, &str); 4] = [
    ("mkfs.ext4", "e2fsprogs"),
    ("e2fsck", "e2fsprogs"),
    ("mkfs.xfs", "xfsprogs"),
    ("mount", "mount"),
];

/// What the file system on it promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// ext4 as it usually is.
    Journalled,
    /// XFS, whose log has no data in it, and which allocates late.
    Xfs,
    /// ext4 without a journal: what is not synced stays off the platter for long, and what is synced
    /// takes nothing else along. It is checked before it is mounted after a power cut.
    ///
    /// No place for what must not be lost: before Linux 7.0 its fsync forgets the inode, when the
    /// kernel's own writeback has just been there ("ext4: fix fsync(2) for nojournal mode").
    Plain,
}

impl Kind {
    fn make(self, drive: &Path) -> Result<()> {
        // Nothing is left for the kernel to initialise in the background.
        let (program, options): (_, &[&str]) = match self {
            Self::Journalled => (
                "mkfs.ext4",
                &["-q", "-O", "has_journal", "-E", "lazy_itable_init=0"],
            ),
            Self::Plain => (
                "mkfs.ext4",
                &["-q", "-O", "^has_journal", "-E", "lazy_itable_init=0"],
            ),
            Self::Xfs => ("mkfs.xfs", &["-q"]),
        };
        let options = options.iter().map(OsStr::new);
        run(program, options.chain([drive.as_os_str()])).map(drop)
    }

    /// A copy of an XFS has its name, by which the kernel would refuse it.
    fn mount_options(self) -> &'static str {
        match self {
            Self::Journalled | Self::Plain => "loop",
            Self::Xfs => "loop,nouuid",
        }
    }
}

/// A disk in its drive.
#[derive(Debug)]
pub struct Disk {
    kind: Kind,
    /// What all its backing files are in.
    room: PathBuf,
    shelf: PathBuf,
    at: PathBuf,
    /// The backing file of what is mounted there.
    in_use: PathBuf,
    /// How many backing files there are.
    drives: u32,
}

/// What the machine lacks for a disk, if anything: for [`node::run_where`].
///
/// # Errors
/// If the kernel's list of file systems cannot be read.
pub fn lacking() -> Result<Option<&'static str>> {
    if !Path::new("/dev/loop-control").exists() {
        return Ok(Some("needs loop devices"));
    }
    let known = fs::read_to_string("/proc/filesystems").context("/proc/filesystems")?;
    for (kind, reason) in [("ext4", "needs ext4"), ("xfs", "needs XFS")] {
        let is_known = known.lines().any(|line| line.trim_end().ends_with(kind));
        let mut probe = Command::new("modprobe");
        let mut can_be_loaded = || probe.args(["--quiet", "--dry-run", kind]).status();
        if !is_known && !can_be_loaded().is_ok_and(|status| status.success()) {
            return Ok(Some(reason));
        }
    }
    Ok(None)
}

impl Disk {
    /// Makes a disk of so many MiB (an XFS has 300 at least) and mounts it on the directory `at`. Call
    /// it in a node.
    ///
    /// # Errors
    /// If a tool is missing, or the kernel refuses.
    pub fn insert(kind: Kind, mebibytes: u32, at: &Path) -> Result<Self> {
        for (tool, package) in TOOLS {
            let mut command = Command::new(tool);
            let ran = command.arg("-V").output();
            ran.with_context(|| format!("{tool}, from {package}"))?;
        }
        let room = room()?;
        let (shelf, backing) = (room.join("shelf"), room.join("shelf.xfs"));
        fs::create_dir(&room).context("a place for the shelf")?;
        fs::create_dir(&shelf).context("the shelf")?;
        // The smallest that its tool makes is 300 MiB; what is not written takes no room.
        File::create(&backing)?.set_len(4 << 30)?;
        run("mkfs.xfs", [OsStr::new("-q"), backing.as_os_str()])?;
        mount("loop", &backing, &shelf)?;
        let drive = shelf.join("drive-0");
        File::create(&drive)?.set_len(u64::from(mebibytes) << 20)?;
        kind.make(&drive)?;
        mount(kind.mount_options(), &drive, at)?;
        Ok(Self {
            kind,
            room,
            shelf,
            at: at.to_owned(),
            in_use: drive,
            drives: 1,
        })
    }

    /// Takes down what a power cut would leave at this instant.
    ///
    /// # Errors
    /// If it cannot be cloned.
    pub fn copy(&mut self) -> Result<PathBuf> {
        let copy = self.shelf.join(format!("drive-{}", self.drives));
        self.drives += 1;
        let to = File::create(&copy)?;
        rustix::fs::ioctl_ficlone(&to, File::open(&self.in_use)?).context("cloning the disk")?;
        Ok(copy)
    }

    /// Mounts what a power cut has left, in place of what is mounted: nobody may use that any more.
    ///
    /// # Errors
    /// If it does not mount: a file system that has not survived.
    pub fn replace(&mut self, copy: PathBuf) -> Result<()> {
        self.eject()?;
        self.mount_copy(&copy, &self.at)?;
        self.in_use = copy;
        Ok(())
    }

    /// Unmounts it.
    ///
    /// # Errors
    /// If somebody still uses it.
    pub fn eject(&self) -> Result<()> {
        run("umount", [&self.at]).map(drop)
    }

    /// Mounts a copy beside the disk, for `look`, and unmounts it.
    ///
    /// # Errors
    /// As [`replace`](Self::replace), or what `look` returns.
    pub fn look_into<T>(&self, copy: &Path, look: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
        let at = node::disk().join("copy");
        fs::create_dir_all(&at)?;
        self.mount_copy(copy, &at)?;
        let seen = look(&at);
        run("umount", [&at])?;
        seen
    }

    fn mount_copy(&self, copy: &Path, at: &Path) -> Result<()> {
        if self.kind == Kind::Plain {
            let mut check = Command::new("e2fsck");
            let ran = check.args(["-f", "-y"]).arg(copy).output()?;
            // 1: there was something to put right.
            ensure!(
                matches!(ran.status.code(), Some(0 | 1)),
                "e2fsck: {}: {}",
                ran.status,
                String::from_utf8_lossy(&ran.stdout)
            );
        }
        mount(self.kind.mount_options(), copy, at)
    }

    /// Unmounts everything, and expects that no loop device is left of it.
    ///
    /// # Errors
    /// The one that is.
    pub fn put_away(self) -> Result<()> {
        self.eject()?;
        // The kernel lets go of a loop device a moment after its last mount.
        no_loop_device_is_left_of(&self.shelf)?;
        run("umount", [&self.shelf])?;
        no_loop_device_is_left_of(&self.room)
    }
}

/// A directory whose path is no other node's. The kernel shows the loop devices of all nodes to each,
/// with the paths of their backing files; and every node's disk has the same path.
fn room() -> Result<PathBuf> {
    let namespace = fs::metadata("/proc/self/ns/mnt").context("the mount namespace")?;
    Ok(node::disk().join(format!("pulled-{}", namespace.ino())))
}

fn no_loop_device_is_left_of(directory: &Path) -> Result<()> {
    let mut left = Vec::new();
    let gone = wait::until(PATIENCE, || {
        left = loop_devices()?;
        left.retain(|file| Path::new(file).starts_with(directory));
        Ok(left.is_empty().then_some(()))
    })?;
    gone.with_context(|| format!("loop devices are left: {left:?}"))
}

/// The backing files of all loop devices.
fn loop_devices() -> Result<Vec<String>> {
    let mut files = Vec::new();
    for device in fs::read_dir("/sys/block").context("/sys/block")? {
        // A device that is just being released has none.
        if let Ok(file) = fs::read_to_string(device?.path().join("loop/backing_file")) {
            files.push(file.trim_end().to_owned());
        }
    }
    Ok(files)
}

fn mount(options: &str, backing: &Path, at: &Path) -> Result<()> {
    let options = ["-o", options].map(OsStr::new);
    let words = [&options[..], &[backing.as_os_str(), at.as_os_str()]].concat();
    run("mount", words).map(drop)
}

fn run<A: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = A>) -> Result<String> {
    outside::output(Command::new(program).args(arguments))
}
