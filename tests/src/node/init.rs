//! What the node's first processes do, on behalf of the binary `podwalk-node-init`.
//!
//! 1. **enter**: dies with the outer test from here on, joins the node's cgroups, makes
//!    those the roots of a cgroup namespace, and becomes `unshare`.
//! 2. **init**: is pid 1. Mounts what is private to the node, brings `lo` up, starts the test, reaps
//!    whoever is left to it, and ends with the test's exit code.
//!
//! 3. **boot**: is pid 1 of a machine in the node ([`crate::machine`]), and mounts what is private to
//!    that one boot. It starts nothing, and reaps until it is killed.
//!
//! All have one thread and open nothing that is inherited, so that no pipe of the outer test is
//! held open in here after its owner has gone.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal::SIGCHLD};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use rustix::process::{Signal, set_parent_process_death_signal};

use super::Layout;

/// The exit code that says that the node could not be made.
pub const FAILED: i32 = 125;

/// Where the node's disk is mounted.
pub const DISK: &str = "/run/node-disk";

/// Where the kernel shows which boot this is.
pub const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Directories of the machine that a node sees empty and may write.
const PRIVATE: [&str; 2] = ["/etc/cni", "/var/lib/cni"];

/// Runs the stage that `arguments` (without the program's name) ask for, and gives the exit code.
///
/// # Errors
/// What could not be done; nothing was started then.
pub fn main(arguments: impl Iterator<Item = OsString>) -> Result<i32> {
    let arguments: Vec<OsString> = arguments.collect();
    let split = arguments.iter().position(|argument| argument == "--");
    let (own, command) = arguments.split_at(split.context("no -- before the command")?);
    let command = &command[1..];
    match own.first().and_then(|stage| stage.to_str()) {
        Some("enter") => enter(&own[1..], command),
        Some("init") => init(&own[1..], command),
        Some("boot") => boot(command),
        _ => bail!("podwalk-node-init is started by the tests' node module, not by hand"),
    }
}

/// Becomes `unshare` inside the node's cgroups. Returns only with an error.
fn enter(own: &[OsString], command: &[OsString]) -> Result<i32> {
    let [parent, layout, cgroups @ ..] = own else {
        bail!("enter PARENT LAYOUT CGROUP… -- COMMAND…");
    };
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The parent may have died before the kernel was asked to tell.
    let now = rustix::process::getppid().map(rustix::process::Pid::as_raw_pid);
    ensure!(
        now.map(|pid| pid.to_string()).as_deref() == parent.to_str(),
        "the test has gone already"
    );
    for cgroup in cgroups {
        join(Path::new(cgroup))?;
    }
    unshare(CloneFlags::CLONE_NEWCGROUP).context("making a cgroup namespace")?;
    for cgroup in cgroups {
        leave_root(Path::new(cgroup))?;
    }
    let error = Command::new("unshare")
        .args(["--mount", "--net", "--pid", "--ipc", "--uts"])
        .args(["--fork", "--kill-child"])
        .arg(std::env::current_exe()?)
        .arg("init")
        .arg(layout)
        .arg("--")
        .args(command)
        .exec();
    Err(error).context("unshare, from util-linux")
}

fn join(cgroup: &Path) -> Result<()> {
    let file = cgroup.join("cgroup.procs");
    fs::write(&file, "0").with_context(|| format!("joining {}", file.display()))
}

/// In version 2 a group that holds processes cannot hand out controllers, so the node's root must be
/// empty, as a machine's is: its own processes go into a leaf.
fn leave_root(cgroup: &Path) -> Result<()> {
    if !cgroup.join("cgroup.controllers").exists() {
        return Ok(());
    }
    let leaf = cgroup.join("init.scope");
    fs::create_dir(&leaf)?;
    join(&leaf)
}

fn init(own: &[OsString], command: &[OsString]) -> Result<i32> {
    let layout = own.first().and_then(|word| word.to_str());
    let layout = layout
        .and_then(Layout::from_word)
        .context("init LAYOUT -- COMMAND…")?;
    furnish(layout)?;
    let (program, arguments) = command.split_first().context("no command")?;
    let child = Command::new(program)
        .args(arguments)
        .spawn()
        .with_context(|| program.display().to_string())?;
    reap_until(i32::try_from(child.id())?)
}

/// Makes the node's own view of the machine.
fn furnish(layout: Layout) -> Result<()> {
    let groups = begin_to_furnish()?;
    new_mount("tmpfs", "/run", "mode=755")?;
    fs::create_dir(DISK)?;
    new_mount("tmpfs", DISK, "mode=755")?;
    for directory in PRIVATE {
        make_private(Path::new(directory))?;
    }
    end_furnishing(layout, &groups)
}

/// One boot of a machine: as [`furnish`], but what stands for disks is kept.
fn boot(own: &[OsString]) -> Result<i32> {
    let [layout, boot_id] = own else {
        bail!("boot -- LAYOUT BOOT-ID");
    };
    let layout = layout.to_str().and_then(Layout::from_word);
    let layout = layout.context("boot -- LAYOUT BOOT-ID")?;
    // This process as the node knows it: its `/proc` is still the one to be seen here.
    let pid = fs::read_link("/proc/self").context("/proc/self")?;
    let groups = begin_to_furnish()?;
    let disk = open_tree(CWD, DISK, OpenTreeFlags::OPEN_TREE_CLONE).context("the disk")?;
    new_mount("tmpfs", "/run", "mode=755")?;
    fs::create_dir(DISK)?;
    move_mount(
        &disk,
        "",
        CWD,
        DISK,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )
    .context("mounting the disk")?;
    drop(disk);
    end_furnishing(layout, &groups)?;
    let boot_id = Path::new(boot_id).to_str().context("BOOT-ID")?;
    mounted(Some(boot_id), BOOT_ID, None, MsFlags::MS_BIND, "")?;
    println!("{}", pid.display());
    std::io::stdout().flush()?;
    reap_for_ever()
}

/// Answers what `/proc/self/cgroup` says.
fn begin_to_furnish() -> Result<String> {
    mounted(None, "/", None, MsFlags::MS_REC | MsFlags::MS_PRIVATE, "")?;
    new_mount("proc", "/proc", "")?;
    fs::read_to_string("/proc/self/cgroup").context("/proc/self/cgroup")
}

fn end_furnishing(layout: Layout, groups: &str) -> Result<()> {
    // With it go the cgroup file systems that are mounted below: they show the machine's groups.
    umount2("/sys", MntFlags::MNT_DETACH).context("unmounting the machine's /sys")?;
    new_mount("sysfs", "/sys", "")?;
    mount_cgroups(layout, groups)?;
    let up = Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status();
    ensure!(
        up.context("ip, from iproute2")?.success(),
        "ip link set lo up failed"
    );
    Ok(())
}

/// Mounts the node's groups as `/sys/fs/cgroup`. `groups` is `/proc/self/cgroup`: its lines name the
/// hierarchies that the machine has, with the controllers that cannot be separated.
fn mount_cgroups(layout: Layout, groups: &str) -> Result<()> {
    let root = Path::new("/sys/fs/cgroup");
    if layout == Layout::V2 {
        return new_mount("cgroup2", root, "");
    }
    new_mount("tmpfs", root, "mode=755")?;
    let controllers = groups.lines().filter_map(|line| line.split(':').nth(1));
    for controllers in controllers.filter(|controllers| !controllers.is_empty()) {
        let (directory, options) = match controllers.strip_prefix("name=") {
            Some(name) => (root.join(name), format!("none,{controllers}")),
            None => (root.join(controllers), controllers.to_owned()),
        };
        fs::create_dir(&directory)?;
        new_mount("cgroup", directory, &options)?;
    }
    Ok(())
}

/// Shows `directory` empty, without making it on the machine: where it is missing there, its parent
/// is overlaid with one that has it.
fn make_private(directory: &Path) -> Result<()> {
    if !directory.is_dir() {
        let parent = directory.parent().context("a directory below the root")?;
        let layer: PathBuf = Path::new(DISK).join(".layers").join(
            parent
                .strip_prefix("/")?
                .as_os_str()
                .to_string_lossy()
                .replace('/', "-"),
        );
        let (upper, work) = (layer.join("upper"), layer.join("work"));
        fs::create_dir_all(&upper)?;
        fs::create_dir_all(&work)?;
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            parent.display(),
            upper.display(),
            work.display()
        );
        new_mount("overlay", parent, &options)?;
        fs::create_dir(directory).with_context(|| directory.display().to_string())?;
    }
    new_mount("tmpfs", directory, "mode=755")
}

fn new_mount(kind: &str, point: impl AsRef<Path>, options: &str) -> Result<()> {
    mounted(Some(kind), point, Some(kind), MsFlags::empty(), options)
}

fn mounted(
    source: Option<&str>,
    point: impl AsRef<Path>,
    kind: Option<&str>,
    flags: MsFlags,
    options: &str,
) -> Result<()> {
    let point = point.as_ref();
    mount(source, point, kind, flags, Some(options)).with_context(|| {
        let kind = kind.unwrap_or("private propagation");
        format!("mounting {kind} on {} ({options})", point.display())
    })
}

/// Reaps every process that ends, and never ends itself.
fn reap_for_ever() -> Result<i32> {
    let mut ended = SigSet::empty();
    ended.add(SIGCHLD);
    ended.thread_block()?;
    loop {
        match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => {
                ended.wait()?;
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).context("waiting for orphans"),
        }
    }
}

/// Reaps every process that ends until `child` is the one, and gives its exit code.
fn reap_until(child: i32) -> Result<i32> {
    loop {
        match waitpid(None::<Pid>, None) {
            Ok(WaitStatus::Exited(pid, code)) if pid.as_raw() == child => return Ok(code),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid.as_raw() == child => {
                eprintln!("the test was ended by {signal}");
                return Ok(128 + signal as i32);
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).context("waiting for the test"),
        }
    }
}
