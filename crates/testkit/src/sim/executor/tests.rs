use super::*;
use crate::sim::{Point, Points};

/// Who ran, in order.
fn order(seed: u64) -> Vec<u32> {
    let executor = Executor::new(seed);
    let ran = Arc::new(Mutex::new(Vec::new()));
    for number in 0..20 {
        let ran = ran.clone();
        executor.spawn(Box::pin(async move { locked(&ran).push(number) }));
    }
    executor.run(|| false);
    assert_eq!(executor.living(), 0);
    locked(&ran).clone()
}

#[test]
fn the_same_seed_gives_the_same_order_and_another_one_another() {
    assert_eq!(order(0), (0..20).collect::<Vec<_>>());
    assert_eq!(order(7), order(7));
    assert_ne!(order(7), order(8));
}

#[test]
fn killed_tasks_are_dropped_where_they_stand_and_never_run_again() {
    let executor = Executor::new(0);
    let (points, alive) = (Points::default(), Arc::new(()));
    let held = alive.clone();
    let passing = points.clone();
    executor.spawn(Box::pin(async move {
        std::future::pending::<()>().await;
        passing.pass("after").await;
        drop(held);
    }));
    executor.run(|| false);
    assert_eq!((executor.living(), Arc::strong_count(&alive)), (1, 2));
    executor.kill();
    assert_eq!((executor.living(), Arc::strong_count(&alive)), (0, 1));
    executor.run(|| false);
    assert_eq!(points.passed(), 0);
}

#[test]
fn the_dead_do_not_run_on() {
    let executor = Executor::new(0);
    let points = Points::default();
    points.arm(Some(3));
    for _ in 0..5 {
        let points = points.clone();
        executor.spawn(Box::pin(async move { points.pass("here").await }));
    }
    executor.run(|| points.is_crashed());
    assert_eq!(
        (points.passed(), points.crashed_at()),
        (3, Some(Point::Named("here")))
    );
}
