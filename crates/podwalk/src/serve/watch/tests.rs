use std::cell::Cell;

use podwalk_engine::id::InstanceId;

use super::*;

#[tokio::test(start_paused = true)]
async fn an_end_is_waited_for_until_it_can_be_watched() {
    let pod = PodId::new([1; 12], InstanceId([2; 4]));
    let tries = Cell::new(0);
    let exited = || async {
        tries.set(tries.get() + 1);
        match tries.get() {
            1 | 2 => Err("too many open files"),
            _ => Ok(()),
        }
    };
    assert!(until_told(pod, exited, || true).await);
    assert_eq!(tries.get(), 3);
    tries.set(0);
    assert!(!until_told(pod, exited, || tries.get() < 2).await);
    assert_eq!(
        tries.get(),
        2,
        "of a pod that is gone nobody waits for the end"
    );
}
