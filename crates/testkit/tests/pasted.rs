//! A counterexample as the harness prints it, pasted.
//!
//! The engine is broken on purpose: it forgets what a plugin may have done when
//! the daemon died. `sim::shrink` checks that it still prints just this.

use podwalk_engine::decide::{Facts, Next, decide};
use podwalk_engine::pod::{Pod, Status};
use podwalk_engine::step::Step;
use podwalk_testkit::sim::{Call, Client, Crash, Death, Mode, Schedule, World};

fn forgets_addresses(pod: &Pod, facts: &Facts) -> Next {
    let mut pod = pod.clone();
    let slot = &mut pod.slots[Step::ConfigureCni.rank()];
    if slot.status == Status::Maybe && facts.inherited {
        slot.status = Status::Never;
    }
    decide(&pod, facts)
}

#[test]
fn counterexample() {
    let schedule = Schedule {
        clients: vec![Client {
            mode: Mode::Cni,
            calls: vec![Call::Start],
        }],
        deaths: vec![Death {
            point: 23,
            crash: Crash::Kill { strays: true },
        }],
        ..Schedule::default()
    };
    let run = World::default().run(&schedule);
    assert_eq!(run.complaints, Vec::<String>::new());
    let broken = World::default().deciding(forgets_addresses);
    let complaints = broken.run(&schedule).complaints;
    assert!(
        complaints
            .iter()
            .any(|one| one.contains("made over itself"))
    );
}
