use podwalk_engine::ports::Spawn;

use super::*;
use crate::sim::Executor;

#[test]
fn time_goes_on_to_the_next_timer_and_wakes_in_order() {
    let (clock, executor) = (SimClock::default(), Executor::new(0));
    let woken = Arc::new(Mutex::new(Vec::new()));
    for seconds in [3, 1, 2] {
        let (sleep, woken) = (clock.sleep(Duration::from_secs(seconds)), woken.clone());
        executor.spawn(Box::pin(async move {
            sleep.await;
            woken.lock().unwrap().push(seconds);
        }));
    }
    let begun = clock.now();
    executor.run(|| false);
    while clock.to_next_timer() {
        executor.run(|| false);
    }
    assert_eq!(*woken.lock().unwrap(), [1, 2, 3]);
    assert_eq!(clock.now().since(&begun), Duration::from_secs(3));
}

#[test]
fn who_does_not_wait_any_more_holds_no_timer() {
    let clock = SimClock::default();
    drop(clock.sleep(Duration::from_secs(1)));
    assert!(!clock.to_next_timer());
}

#[test]
fn a_reboot_begins_another_boot_and_the_wall_goes_on() {
    let clock = SimClock::default();
    clock.pass(Duration::from_secs(500));
    let before = clock.now();
    clock.reboot(Duration::from_secs(60));
    let after = clock.now();
    assert_ne!(after.boot, before.boot);
    assert!(after.boottime_ns < before.boottime_ns);
    assert_eq!(after.wall_ns - before.wall_ns, 60_000_000_000);
    clock.set_wall(5);
    // At least this boot is over that moment, whatever the wall says.
    assert_eq!(clock.now().since(&before), Duration::from_secs(1));
}
