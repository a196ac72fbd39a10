use super::*;
use std::process::{Child, Command, Stdio};

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn sleeper() -> Ended {
    Ended(
        Command::new("sleep")
            .arg("1000")
            .stdin(Stdio::null())
            .spawn()
            .unwrap(),
    )
}

#[tokio::test]
async fn an_end_is_noticed_before_anybody_waited_for_it() {
    let child = sleeper();
    let watch = ProcessWatch::of(child.0.id()).unwrap().unwrap();
    assert!(watch.is_alive().unwrap());
    watch.kill().unwrap();
    watch.exited().await.unwrap();
    // Asked again, it says the same; and a zombie is nobody.
    watch.exited().await.unwrap();
    assert!(!watch.is_alive().unwrap());
    assert!(ProcessWatch::open(watch.identity()).unwrap().is_none());
    assert!(ProcessWatch::of(child.0.id()).unwrap().is_none());
    watch.kill().unwrap();
    drop(child);
    watch.kill().unwrap();
}

#[tokio::test]
async fn another_with_the_same_pid_is_not_taken_for_it() {
    let child = sleeper();
    let real = ProcessWatch::of(child.0.id()).unwrap().unwrap().identity();
    let recycled = ProcessIdentity {
        start_time: real.start_time - 1,
        ..real
    };
    assert!(ProcessWatch::open(recycled).unwrap().is_none());
    assert!(ProcessWatch::open(real).unwrap().is_some());
}

#[tokio::test]
async fn there_is_nobody_at_impossible_pids() {
    for pid in [0, u32::MAX, i32::MAX as u32] {
        assert!(ProcessWatch::of(pid).unwrap().is_none(), "{pid}");
    }
}

#[tokio::test]
async fn a_waiter_that_is_dropped_misses_nothing() {
    let child = sleeper();
    let watch = ProcessWatch::of(child.0.id()).unwrap().unwrap();
    tokio::select! {
        biased;
        _ = watch.exited() => panic!("it lives"),
        () = std::future::ready(()) => {}
    }
    watch.kill().unwrap();
    watch.exited().await.unwrap();
}

#[tokio::test]
async fn exit_codes_come_from_whoever_knows_them() {
    struct Knows;
    impl ExitCodes for Knows {
        fn exit_code(&self, _pidfd: BorrowedFd<'_>) -> Option<i32> {
            Some(137)
        }
    }
    let child = sleeper();
    let watch = ProcessWatch::of(child.0.id()).unwrap().unwrap();
    assert_eq!(watch.exit_code(&Knows), Some(137));
    assert_eq!(watch.exit_code(&NoExitCodes), None);
}

#[test]
fn the_start_time_is_found_behind_any_name() {
    let rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 424242 20";
    for name in ["sleep", "a) b", ") S 1 (", "((", "x y z"] {
        assert_eq!(
            parse_start_time(&format!("7 ({name}) {rest}")),
            Some(424242),
            "{name}"
        );
    }
    for broken in [
        "",
        "7 (sleep",
        "7 (sleep) S 1 2",
        "7 (sleep) S a b c d e f g h i j k l m n o p q r s",
    ] {
        assert_eq!(parse_start_time(broken), None, "{broken}");
    }
}
