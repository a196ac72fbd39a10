//! Who is nudged, and until when.

use std::sync::mpsc;

use super::*;

/// A guard against a hang, no measure of speed.
const DEADLINE: Duration = Duration::from_secs(60);

/// One who says so each time that it nudges.
fn nudger() -> (Nudger, mpsc::Receiver<()>) {
    let (said, heard) = mpsc::channel();
    let said = Mutex::new(said);
    let nudge = move || said.lock().unwrap().send(()).unwrap();
    (Nudger::with(Arc::new(nudge)).unwrap(), heard)
}

#[test]
fn who_is_long_at_work_is_nudged_again_and_again() {
    let (nudger, heard) = nudger();
    let work = nudger.at_work();
    for _ in 0..2 {
        heard.recv_timeout(DEADLINE).expect("a nudge");
    }
    drop(work);
    assert_eq!(nudger.0.lock().due, None, "and then no more");
}

/// It sleeps between two pieces of work, and is woken for the second.
#[test]
fn it_wakes_up_for_work_after_a_rest() {
    let (nudger, heard) = nudger();
    drop(nudger.at_work());
    let end = Instant::now() + DEADLINE;
    while !nudger.0.lock().sleeps {
        assert!(Instant::now() < end, "it goes to sleep");
        thread::yield_now();
    }
    let _work = nudger.at_work();
    heard.recv_timeout(DEADLINE).expect("a nudge");
}

#[test]
fn nobody_is_nudged_while_there_is_no_store() {
    let (nudger, heard) = nudger();
    nudger.watch_over(None);
    let before = Instant::now();
    let _work = nudger.at_work();
    assert!(nudger.0.lock().due >= Some(before + PATIENCE));
    // What would have nudged has gone with the store.
    assert_eq!(heard.recv(), Err(mpsc::RecvError));
}

#[test]
fn its_thread_ends_with_it() {
    let (nudger, heard) = nudger();
    let watch = Arc::clone(&nudger.0);
    drop(nudger);
    assert_eq!(heard.recv(), Err(mpsc::RecvError));
    let end = Instant::now() + DEADLINE;
    while Arc::strong_count(&watch) > 1 {
        assert!(Instant::now() < end, "it ends");
        thread::yield_now();
    }
}

/// Who does not wake up is not to be drowned in nudges.
#[test]
fn the_pause_between_two_nudges_doubles_up_to_a_bound() {
    let (nudger, _heard) = nudger();
    nudger.watch_over(None);
    let now = Instant::now();
    let mut state = nudger.0.lock();
    let pauses: Vec<u64> = (0..8)
        .map(|_| {
            state.nudge(now);
            assert_eq!(state.due, Some(now + state.patience));
            state.patience.as_secs()
        })
        .collect();
    assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 64, 64]);
}
