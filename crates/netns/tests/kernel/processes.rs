//! A pid that is given to another process.

use std::io::Write;
use std::process::{Child, Command, Stdio};

use podwalk_netns::process::ProcessId;

use crate::node::{GUARD, eventually, node_tests};

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

node_tests! {
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
