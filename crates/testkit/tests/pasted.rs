//! Counterexamples as the harness prints them, pasted.
//!
//! The engine is broken on purpose: it forgets what a plugin may have done when
//! the daemon died. `sim::shrink` checks that it still prints just this.

#![allow(clippy::needless_update)] // as it is printed

use podwalk_engine::decide::{Facts, Next, decide};
use podwalk_engine::pod::{Pod, Status};
use podwalk_engine::step::Step;
use podwalk_testkit::sim::*;

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
    let world = World::default(); // yours, if you have one
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
    let run = world.run(&schedule);
    assert_eq!(run.complaints, Vec::<String>::new());
    let broken = World::default().deciding(forgets_addresses);
    let complaints = broken.run(&schedule).complaints;
    assert!(
        complaints
            .iter()
            .any(|one| one.contains("made over itself"))
    );
}

#[test]
fn everything() {
    use std::time::Duration;

    use podwalk_engine::decide::Policy;
    use podwalk_engine::id::PodId;
    let world = World::default();
    let schedule = Schedule {
        setup: Setup {
            attachments: 2,
            late: 1,
            consumes_network: true,
            restless: true,
            policy: Policy {
                resume: false,
                attempts: 2,
                debt_grace: Duration::from_nanos(5),
            },
            recovery_at_once: 3,
            seed: 4,
            ..Setup::default()
        },
        faults: vec![
            Fault::once(Step::Start, Site::Apply, Mishap::Fail { after: 1 })
                .of(PodId([7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7])),
            Fault::once(Step::Start, Site::Undo, Mishap::Hang { after: 2 }).of_attachment(3),
            Fault::for_ever(Step::Create, Site::Probe, Mishap::LoseAnswer),
            Fault::for_ever(Step::Start, Site::Quiet, Mishap::Nonsense).at_most(6),
        ],
        clients: vec![
            Client {
                mode: Mode::Cni,
                calls: vec![Call::Start, Call::Pause, Call::Stop],
            },
            Client {
                mode: Mode::Alone,
                calls: vec![Call::Die, Call::Remove],
            },
            Client {
                mode: Mode::Host,
                calls: vec![],
            },
            Client {
                mode: Mode::GuestOf(0),
                calls: vec![],
            },
        ],
        requests: vec![Request {
            life: 0,
            point: 5,
            client: 1,
            call: Call::Stop,
        }],
        deaths: vec![
            Death {
                point: 6,
                crash: Crash::Kill { strays: false },
            },
            Death {
                point: 7,
                crash: Crash::Power {
                    kept: 8,
                    disk_lost: true,
                },
            },
        ],
        ..Schedule::default()
    };
    let run = world.run(&schedule);
    assert_eq!(run.complaints, Vec::<String>::new());
}
