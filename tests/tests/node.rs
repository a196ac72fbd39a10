//! The test node itself: what is private in it, how it ends, what it leaves.
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use podwalk_tests::node::cgroups::{Hierarchies, NodeCgroups};
use podwalk_tests::node::{self, Layout};
use podwalk_tests::{outside, wait};

/// Set for a node whose body a test lets misbehave.
const MISBEHAVE: &str = "PODWALK_TEST_MISBEHAVE";

/// The namespaces of the machine, for a test in a node.
const OUTER: &str = "PODWALK_TEST_NAMESPACES";

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn a_node_has_namespaces_of_its_own() -> Result<()> {
    let outer = namespaces()?.join(" ");
    rerun("compare_namespaces", OUTER, &outer, 0).map(drop)
}

/// Run again by the test above, which says what the machine's namespaces are.
#[test]
#[ignore = "another test runs this one"]
fn compare_namespaces() -> Result<()> {
    let Ok(outer) = std::env::var(OUTER) else {
        return Ok(());
    };
    node::run(Layout::V2, || {
        for (outer, inner) in outer.split(' ').zip(namespaces()?) {
            ensure!(outer != inner, "{inner} is the machine's");
        }
        ensure!(
            std::os::unix::process::parent_id() == 1,
            "the test's parent is pid 1"
        );
        Ok(())
    })
}

fn namespaces() -> Result<Vec<String>> {
    let read = |name: &str| {
        let link = fs::read_link(format!("/proc/self/ns/{name}"))?;
        Ok(link.to_string_lossy().into_owned())
    };
    let names = ["mnt", "net", "pid", "ipc", "uts", "cgroup"];
    names.into_iter().map(read).collect()
}

#[test]
fn the_private_directories_are_there_empty_and_writable() -> Result<()> {
    node::run(Layout::V2, || {
        for directory in ["/etc/cni", "/var/lib/cni"] {
            ensure!(fs::read_dir(directory)?.next().is_none(), "{directory}");
            fs::write(Path::new(directory).join("file"), "x")?;
        }
        let in_run: Vec<_> = fs::read_dir("/run")?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        ensure!(in_run == [node::disk()], "/run holds {in_run:?}");
        // What the tests need of the machine is still to be seen.
        ensure!(node::binaries()?.is_dir() && Path::new("/etc/passwd").exists());
        Ok(())
    })
}

#[test]
fn lo_is_up_and_alone() -> Result<()> {
    node::run(Layout::V2, || {
        let links = outside::output(Command::new("ip").args(["-o", "link"]))?;
        ensure!(links.lines().count() == 1, "{links}");
        ensure!(links.contains("lo:") && links.contains("UP"), "{links}");
        ensure!(outside::answers("127.0.0.1".parse()?)?);
        Ok(())
    })
}

#[test]
fn version_1_offers_limits_and_no_other_node_s_groups() -> Result<()> {
    node::run(Layout::V1, || {
        let root = Path::new("/sys/fs/cgroup");
        ensure!(!root.join("unified").exists());
        let pids = root.join("pids");
        let inside: Vec<_> = fs::read_dir(&pids)?
            .flatten()
            .filter(|entry| entry.path().is_dir())
            .collect();
        ensure!(inside.is_empty(), "{inside:?}");
        fs::create_dir(pids.join("pod"))?;
        fs::write(pids.join("pod/pids.max"), "10")?;
        ensure!(fs::read_to_string(pids.join("pod/pids.max"))?.trim() == "10");
        let cpus = fs::read_to_string(root.join("cpuset/cpuset.cpus"))?;
        ensure!(!cpus.trim().is_empty(), "the cpuset is empty");
        Ok(())
    })
}

#[test]
fn version_2_is_alone_and_its_root_holds_no_process() -> Result<()> {
    node::run(Layout::V2, || {
        let root = Path::new("/sys/fs/cgroup");
        ensure!(root.join("cgroup.controllers").is_file());
        ensure!(fs::read_to_string(root.join("cgroup.procs"))?.is_empty());
        let own = fs::read_to_string("/proc/self/cgroup")?;
        ensure!(own.lines().any(|line| line == "0::/init.scope"), "{own}");
        Ok(())
    })
}

#[test]
fn orphans_are_reaped() -> Result<()> {
    node::run(Layout::V2, || {
        let pid = outside::output(Command::new("sh").args(["-c", "true & echo $!"]))?;
        let directory = format!("/proc/{}", pid.trim());
        let gone = wait::until(Duration::from_secs(30), || {
            Ok((!Path::new(&directory).exists()).then_some(()))
        })?;
        gone.context("an orphan stays as a zombie")
    })
}

#[test]
fn a_node_leaves_no_process_and_no_cgroup() -> Result<()> {
    // Left to itself: a process in a session of its own, in a group of its own, twice over.
    node::run(Layout::V2, || {
        let group = Path::new("/sys/fs/cgroup/left/behind");
        fs::create_dir_all(group)?;
        let mut sleeper = Command::new("setsid");
        sleeper.args(["sleep", "infinity"]).stdin(Stdio::null());
        // Its output must not be the test's pipe: that end of it is what is tested here.
        let child = sleeper.spawn()?;
        fs::write(group.join("cgroup.procs"), child.id().to_string())?;
        Ok(())
    })?;
    if node::is_inside() || !is_root() {
        return Ok(());
    }
    let mine = format!("podwalk-node-{}-", std::process::id());
    for hierarchy in Hierarchies::read()?.0 {
        // Other tests of this process may have nodes: theirs have this process's pid too, so that
        // only a group whose `left` is there is one that was left.
        for entry in fs::read_dir(&hierarchy.own)?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_left = name.starts_with(&mine) && entry.path().join("left").exists();
            ensure!(!is_left, "{} is left", entry.path().display());
        }
    }
    Ok(())
}

/// Run again by the tests below, with a word that says how to misbehave.
#[test]
#[ignore = "another test runs this one"]
fn misbehave() -> Result<()> {
    let Ok(how) = std::env::var(MISBEHAVE) else {
        return Ok(());
    };
    // The deadline of one that hangs stands behind the word.
    let (how, seconds) = how.split_once(' ').unwrap_or((&how, "120"));
    let deadline = Duration::from_secs(seconds.parse()?);
    node::run_within(Layout::V2, deadline, || {
        println!("the body was reached");
        match how {
            "error" => {
                fs::write(node::disk().join("daemon.log"), "what the daemon said\n")?;
                anyhow::bail!("an error of the body")
            }
            "panic" => assert_eq!(how, "calm", "a panic of the body"),
            "abort" => std::process::abort(),
            "leave" => std::process::exit(0),
            // Nobody writes to this pipe, and its writing end stays open here.
            "hang" => {
                let (reader, _writer) = std::io::pipe()?;
                std::io::read_to_string(reader)?;
            }
            _ => {}
        }
        Ok(())
    })
}

/// Runs a test of this program again in a process of its own, with one variable set, and expects its
/// exit code. Gives what it wrote.
fn rerun(name: &str, variable: &str, value: &str, code: i32) -> Result<String> {
    let ran = Command::new(std::env::current_exe()?)
        .args([name, "--exact", "--nocapture", "--ignored"])
        .env(variable, value)
        .output()?;
    let text = [ran.stdout, ran.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    ensure!(ran.status.code() == Some(code), "{}: {text}", ran.status);
    Ok(text)
}

fn misbehaviour_is_reported(how: &str, says: &str) -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    let text = rerun("misbehave", MISBEHAVE, how, 101)?;
    ensure!(text.contains("the body was reached"), "{text}");
    ensure!(text.contains(says), "{text}");
    Ok(())
}

#[test]
fn an_error_in_a_node_fails_the_test_and_is_shown() -> Result<()> {
    misbehaviour_is_reported("error", "an error of the body")?;
    misbehaviour_is_reported("error", "what the daemon said")
}

#[test]
fn a_panic_in_a_node_fails_the_test_and_is_shown() -> Result<()> {
    misbehaviour_is_reported("panic", "a panic of the body")
}

#[test]
fn a_signal_in_a_node_fails_the_test() -> Result<()> {
    misbehaviour_is_reported("abort", "the test was ended by SIGABRT")
}

#[test]
fn a_body_that_leaves_early_did_not_pass() -> Result<()> {
    misbehaviour_is_reported("leave", "found no test of that name")
}

#[test]
fn a_hang_in_a_node_is_ended_at_the_deadline() -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    // The deadline bounds the making of the node too: it must be long enough for the body to begin.
    for seconds in [2, 4, 8, 16, 32, 64] {
        let text = rerun("misbehave", MISBEHAVE, &format!("hang {seconds}"), 101)?;
        let says = format!("killed at its deadline of {seconds}s");
        ensure!(text.contains(&says), "{text}");
        if text.contains("the body was reached") {
            return Ok(());
        }
    }
    anyhow::bail!("the body was never reached")
}

#[test]
fn a_node_dies_with_the_test_that_made_it() -> Result<()> {
    if node::is_inside() || !is_root() {
        return Ok(());
    }
    let mut child = Command::new(std::env::current_exe()?)
        .args(["hang_until_killed", "--exact", "--nocapture", "--ignored"])
        .env(MISBEHAVE, "report")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    // The node's supervisor is the child's only child; below it is pid 1, below that the test.
    let chain = wait::until(Duration::from_secs(60), || {
        let supervisor = only_child(child.id())?;
        let first = supervisor.map(only_child).transpose()?.flatten();
        let inner = first.map(only_child).transpose()?.flatten();
        Ok(supervisor.zip(first).zip(inner))
    })?;
    let ((supervisor, first), inner) = chain.context("the node did not start")?;
    child.kill()?;
    child.wait()?;
    for pid in [supervisor, first, inner] {
        let gone = wait::until(Duration::from_secs(60), || {
            let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let is_gone = state.is_empty() || state.contains(") Z ");
            Ok(is_gone.then_some(()))
        })?;
        gone.with_context(|| format!("process {pid} of the node lives"))?;
    }
    // Nobody was left to remove its groups. The next node does.
    let hierarchies = Hierarchies::read()?;
    NodeCgroups::make(&hierarchies)?.remove()?;
    let name = format!("podwalk-node-{}-", child.id());
    for hierarchy in hierarchies.0 {
        for entry in fs::read_dir(&hierarchy.own)?.flatten() {
            let is_left = entry.file_name().to_string_lossy().starts_with(&name);
            ensure!(!is_left, "{} is left", entry.path().display());
        }
    }
    Ok(())
}

/// Run again by the test above.
#[test]
#[ignore = "another test runs this one"]
fn hang_until_killed() -> Result<()> {
    if std::env::var_os(MISBEHAVE).is_none_or(|how| how != "report") {
        return Ok(());
    }
    node::run(Layout::V2, || {
        let (reader, _writer) = std::io::pipe()?;
        std::io::read_to_string(reader)?;
        Ok(())
    })
}

/// The child of `pid`, if there is exactly one.
fn only_child(pid: u32) -> Result<Option<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let parent = stat
            .rsplit_once(')')
            .and_then(|(_, fields)| fields.split_whitespace().nth(1)?.parse().ok());
        if parent == Some(pid) {
            found.push(entry.file_name().to_string_lossy().parse()?);
        }
    }
    match found.as_slice() {
        [one] => Ok(Some(*one)),
        _ => Ok(None),
    }
}
