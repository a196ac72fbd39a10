use std::process::{Child, Command, Stdio};

use super::*;

/// How long a test waits before it calls something hung.
const GUARD: Duration = Duration::from_secs(30);

/// A child that ends when its standard input is closed, with a code that it reads from there.
fn obedient_child() -> Child {
    Command::new("/bin/sh")
        .args(["-c", "read code; exit $code"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap()
}

fn tell(child: &mut Child, code: &str) {
    use std::io::Write;
    let mut input = child.stdin.take().unwrap();
    writeln!(input, "{code}").unwrap();
}

fn opened(child: &Child) -> PidFd {
    ProcessId::of(child.id())
        .unwrap()
        .unwrap()
        .open()
        .unwrap()
        .unwrap()
}

/// A stat line whose fields are all 0 but those given by their number.
fn line(fields: &[(usize, &str)]) -> String {
    let mut line = vec!["0"; 50];
    for (number, value) in fields {
        line[number - 3] = value;
    }
    format!("77 (a) b (c) {}\n", line.join(" "))
}

#[test]
fn a_stat_line_is_read_behind_the_last_bracket() {
    let stat = parse_stat(&line(&[(3, "S"), (22, "4242")])).unwrap();
    let expected = Stat {
        zombie: false,
        without_program: false,
        start_time: 4242,
        bare: false,
        exit_code: Some(0),
    };
    assert_eq!(stat, expected);
}

#[test]
fn a_zombie_line_tells_its_exit_code() {
    let stat = parse_stat(&line(&[(3, "Z"), (52, "1792")])).unwrap();
    assert!(stat.zombie);
    assert_eq!(stat.exit_code, Some(1792));
}

#[test]
fn a_kernel_thread_and_a_process_that_is_exiting_run_no_program() {
    for (flags, without_program) in [("2129984", true), ("4194308", true), ("4194304", false)] {
        let stat = parse_stat(&line(&[(3, "R"), (9, flags)])).unwrap();
        assert_eq!(stat.without_program, without_program, "{flags}");
    }
}

#[test]
fn an_empty_environment_counts_once_exec_has_told_where_the_program_begins() {
    let cases = [
        ("0", "0", "0", false),
        ("0", "9", "9", false),
        ("5", "7", "9", false),
        ("5", "9", "9", true),
    ];
    for (program, begins, ends, bare) in cases {
        let fields = [(3, "S"), (26, program), (50, begins), (51, ends)];
        let stat = parse_stat(&line(&fields)).unwrap();
        assert_eq!(stat.bare, bare, "{program}: {begins} to {ends}");
    }
}

#[test]
fn an_old_kernels_shorter_line_will_do() {
    let stat =
        parse_stat("7 (x) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20 21 22 23 24 25")
            .unwrap();
    assert_eq!(
        (stat.start_time, stat.bare, stat.exit_code),
        (4242, false, None)
    );
}

#[test]
fn a_line_cut_short_is_no_stat() {
    for bad in [
        "",
        "77 (x",
        "77 (x) S 1 2",
        "77 (x) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 x",
    ] {
        assert_eq!(parse_stat(bad), None, "{bad}");
    }
}

#[test]
fn we_are_alive_and_the_start_time_is_stable() {
    let me = ProcessId::of(std::process::id()).unwrap().unwrap();
    assert_eq!(Some(me), ProcessId::of(std::process::id()).unwrap());
    let fd = me.open().unwrap().unwrap();
    assert!(fd.is_alive().unwrap());
    assert_eq!(fd.id(), me);
    assert_eq!(fd.exit_status().unwrap(), None);
}

#[test]
fn another_start_time_is_another_process() {
    let me = ProcessId::of(std::process::id()).unwrap().unwrap();
    let earlier = ProcessId {
        start_time: me.start_time - 1,
        ..me
    };
    assert!(earlier.open().unwrap().is_none());
}

#[test]
fn a_number_that_is_no_pid_is_an_error_and_a_free_one_is_none() {
    for pid in [0, u32::MAX] {
        let id = ProcessId { pid, start_time: 1 };
        assert!(matches!(id.open(), Err(Error::NoPid { .. })));
    }
    // Above the largest pid that any Linux gives out (2^22).
    let free = ProcessId {
        pid: 4_194_305,
        start_time: 1,
    };
    assert!(free.open().unwrap().is_none());
    assert_eq!(ProcessId::of(free.pid).unwrap(), None);
}

#[test]
fn the_exit_code_of_a_zombie_is_read() {
    let mut child = obedient_child();
    let process = opened(&child);
    assert!(process.is_alive().unwrap());
    assert!(!process.wait_exit(Duration::ZERO).unwrap());
    tell(&mut child, "7");
    assert!(process.wait_exit(GUARD).unwrap());
    assert_eq!(process.exit_code().unwrap(), Some(7));
    assert!(
        process.id().open().unwrap().is_none(),
        "a zombie does not run"
    );
    child.wait().unwrap();
}

#[test]
fn the_exit_code_of_a_reaped_process_is_read_where_the_kernel_keeps_it() {
    let mut child = obedient_child();
    let process = opened(&child);
    tell(&mut child, "9");
    child.wait().unwrap();
    assert!(!process.is_alive().unwrap());
    assert!(
        !process.kill(Signal::KILL).unwrap(),
        "a reaped process takes no signal"
    );
    let expected = kernel_keeps_exit_codes().then_some(9);
    assert_eq!(process.exit_code().unwrap(), expected);
}

#[test]
fn a_killed_process_ends_with_128_and_the_signal() {
    let mut child = obedient_child();
    let process = opened(&child);
    assert!(process.kill(Signal::TERM).unwrap());
    assert!(process.wait_exit(GUARD).unwrap());
    assert_eq!(process.exit_code().unwrap(), Some(128 + 15));
    assert_eq!(process.exit_status().unwrap().unwrap().signal(), Some(15));
    child.wait().unwrap();
}

#[test]
fn an_exit_is_awaited_without_a_thread() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut child = obedient_child();
        let process = opened(&child);
        {
            // Polled once and dropped: the next wait is not disturbed.
            let first = std::pin::pin!(process.exited());
            let polled = futures_util::future::select(first, std::future::ready(())).await;
            assert!(matches!(polled, futures_util::future::Either::Right(_)));
        }
        tell(&mut child, "0");
        tokio::time::timeout(GUARD, process.exited())
            .await
            .unwrap()
            .unwrap();
        process.exited().await.unwrap();
        assert_eq!(process.exit_code().unwrap(), Some(0));
        child.wait().unwrap();
    });
}

/// Whether this kernel is 6.15 or newer.
fn kernel_keeps_exit_codes() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut parts = release
        .split('.')
        .map(|part| part.parse::<u32>().unwrap_or(0));
    (parts.next().unwrap(), parts.next().unwrap()) >= (6, 15)
}
