//! A pid that is given to another process.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use podwalk_netns::process::ProcessId;

use crate::node::{self, GUARD, eventually, node_tests};

/// What a stranger says when it has opened the process.
const WATCHING: &str = "watching";

fn child() -> Child {
    Command::new("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn end(mut child: Child) {
    drop(child.stdin.take());
    child.wait().unwrap();
}

/// Makes the next process in this pid namespace get `pid`.
fn give_next(pid: u32) {
    let mut last = std::fs::OpenOptions::new()
        .write(true)
        .open("/proc/sys/kernel/ns_last_pid")
        .unwrap();
    last.write_all((pid - 1).to_string().as_bytes()).unwrap();
}

/// The part of one who watches `pid` and may not look at a process of root's.
fn be_a_stranger(pid: &str) {
    let process = ProcessId::of(pid.parse().unwrap())
        .unwrap()
        .unwrap()
        .open()
        .unwrap()
        .unwrap();
    nix::unistd::setuid(nix::unistd::Uid::from_raw(65534)).unwrap();
    println!("{WATCHING}");
    assert!(process.wait_exit(GUARD).unwrap());
    assert_eq!(
        process.exit_code().unwrap(),
        None,
        "what procfs shows to strangers was believed"
    );
}

node_tests! {
    fn who_may_not_look_does_not_make_up_an_exit_code() {
        if let Some(pid) = node::role() {
            be_a_stranger(&pid);
            return;
        }
        let mut zombie = Command::new("/bin/sh")
            .args(["-c", "read line; exit 7"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let test = "processes::who_may_not_look_does_not_make_up_an_exit_code";
        let mut play = node::play(test, &zombie.id().to_string());
        let mut stranger = play.stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(stranger.stdout.take().unwrap()).lines();
        assert!(said.any(|line| line.unwrap() == WATCHING));
        drop(zombie.stdin.take());
        assert!(stranger.wait().unwrap().success());
        assert_eq!(zombie.wait().unwrap().code(), Some(7));
    }

    fn a_pid_that_was_given_to_another_process_is_not_the_recorded_one() {
        let first = child();
        let recorded = ProcessId::of(first.id()).unwrap().unwrap();
        let held = recorded.open().unwrap().unwrap();
        end(first);
        assert!(held.wait_exit(GUARD).unwrap());
        assert!(recorded.open().unwrap().is_none(), "gone");
        // Start times count in hundredths of a second: the next one must begin in a later one.
        let mut second = None;
        eventually("another process has the pid", || {
            give_next(recorded.pid);
            let next = child();
            let id = ProcessId::of(next.id()).unwrap().unwrap();
            let reused = id.pid == recorded.pid && id.start_time != recorded.start_time;
            if reused { second = Some(next) } else { end(next) }
            reused
        });
        assert!(recorded.open().unwrap().is_none(), "another process is taken for the recorded one");
        assert!(!held.is_alive().unwrap());
        assert!(!held.kill(podwalk_netns::process::Signal::KILL).unwrap());
        let mut second = second.unwrap();
        assert!(second.try_wait().unwrap().is_none(), "the signal hit the other process");
        end(second);
    }
}
