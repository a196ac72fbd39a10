use std::process::{Child, Command};
use std::time::Duration;

use super::*;
use crate::config::SandboxConfig;

struct Sleeper(Child);

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn sleeper(mark: &str) -> Sleeper {
    let mut sleep = Command::new("sleep");
    let child = sleep.arg("1000").env(MARK, mark).spawn().unwrap();
    let id = SandboxId::new(mark).unwrap();
    // Until it execs, its environment is ours.
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while !is_marked(child.id(), &id) {
        assert!(std::time::Instant::now() < deadline, "it does not exec");
        std::thread::yield_now();
    }
    Sleeper(child)
}

fn target(id: &str) -> Target {
    let id = SandboxId::new(id).unwrap();
    SandboxConfig::new(id).target().unwrap()
}

#[tokio::test]
async fn who_carries_the_mark_is_found_and_ended_and_nobody_else() {
    let id = format!("marked-{}", std::process::id());
    let target = target(&id);
    let (own, other) = (sleeper(&id), sleeper(&format!("{id}0")));
    assert_eq!(marked(&target.id).unwrap(), [own.0.id()]);
    let ending = Ending {
        target: &target,
        patience: Duration::from_secs(10),
    };
    super::end(&ending, Instant::now() + ending.patience)
        .await
        .unwrap();
    assert!(marked(&target.id).unwrap().is_empty());
    assert!(ProcessWatch::of(own.0.id()).unwrap().is_none(), "it lives");
    assert!(ProcessWatch::of(other.0.id()).unwrap().is_some());
}
