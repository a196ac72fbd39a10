//! The "virtual machine": a process that sleeps, where its bundle's configuration wants it.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

use crate::scripted_plugin::sleep_for_ever;

/// What the machine's process is called with.
pub(super) const FLAG: &str = "--machine";
/// What it takes, in bytes.
const MEMORY: usize = 1024 * 1024;
/// Its pid, in the bundle, for the day when the shim is dead.
const PID: &str = "machine.pid";

/// Starts it in the network namespace and the cgroup that the bundle names.
pub(super) fn start(program: &Path, bundle: &Path) -> io::Result<Child> {
    let config: Value = serde_json::from_slice(&fs::read(bundle.join("config.json"))?)?;
    let netns = network_of(&config);
    let program = program.to_owned();
    // A namespace is entered by a thread of its own, which ends with it.
    let starting = std::thread::spawn(move || {
        if let Some(path) = netns {
            let namespace = File::open(path)?;
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(namespace.as_fd(), kind)?;
        }
        let mut command = Command::new(program);
        command.arg(FLAG).process_group(0).env_clear();
        let null = || Stdio::null();
        command
            .stdin(Stdio::piped())
            .stdout(null())
            .stderr(null())
            .spawn()
    });
    let started = starting.join();
    let mut child = started.map_err(|_| io::Error::other("the thread that starts it ended"))??;
    if let Some(path) = config.pointer("/linux/cgroupsPath").and_then(Value::as_str) {
        enter_cgroup(path, child.id())?;
    }
    fs::write(bundle.join(PID), child.id().to_string())?;
    // It is where it is to be, and goes on.
    drop(child.stdin.take());
    Ok(child)
}

/// The machine: when it is where it is to be it takes some memory, which is its cgroup's then, and
/// sleeps.
pub(super) fn run() -> ! {
    // Whatever ends its input, also the end of its shim, lets it go on.
    let _ = io::copy(&mut io::stdin(), &mut io::sink());
    let memory = vec![1_u8; MEMORY];
    std::hint::black_box(&memory);
    sleep_for_ever()
}

/// Ends the machine that a bundle tells of, if it lives; its pid.
pub(super) fn end(bundle: &Path) -> io::Result<Option<u32>> {
    let text = match fs::read_to_string(bundle.join(PID)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text?,
    };
    let number = text.parse::<i32>().ok().and_then(Pid::from_raw);
    let pid = number.ok_or_else(|| io::Error::other("its pid is none"))?;
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    if command
        .split(|byte| *byte == 0)
        .any(|word| word == FLAG.as_bytes())
    {
        kill_process(pid, Signal::KILL)?;
    }
    fs::remove_file(bundle.join(PID))?;
    Ok(u32::try_from(pid.as_raw_nonzero().get()).ok())
}

/// Forgets a machine that has ended.
pub(super) fn forget(bundle: &Path) {
    // Without the file there is nothing to forget.
    let _ = fs::remove_file(bundle.join(PID));
}

fn network_of(config: &Value) -> Option<PathBuf> {
    let namespaces = config.pointer("/linux/namespaces")?.as_array()?;
    let network = namespaces.iter().find(|one| one["type"] == "network")?;
    network["path"].as_str().map(PathBuf::from)
}

/// Enters it in each hierarchy that takes a process in without further ado: a cpuset does not.
fn enter_cgroup(path: &str, pid: u32) -> io::Result<()> {
    for line in fs::read_to_string("/proc/self/mountinfo")?.lines() {
        let Some((mount, kind)) = line.split_once(" - ") else {
            continue;
        };
        let is_cgroup = kind.starts_with("cgroup ") || kind.starts_with("cgroup2 ");
        let root = mount.split(' ').nth(4).filter(|_| is_cgroup);
        if let Some(root) = root {
            let directory = Path::new(root).join(path.trim_start_matches('/'));
            fs::create_dir_all(&directory)?;
            let _ = fs::write(directory.join("cgroup.procs"), pid.to_string());
        }
    }
    Ok(())
}
