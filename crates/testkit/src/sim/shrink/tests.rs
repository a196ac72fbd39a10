use podwalk_engine::decide::{Facts, Next, decide};
use podwalk_engine::pod::{Pod, Status};
use podwalk_engine::step::Step;

use super::*;
use crate::sim::schedule::{Call, Client, Mode};
use crate::sim::{Crash, Fault, Mishap, Site};

/// An engine that forgets the address of a pod whose ADD was cut off.
fn forgets_addresses(pod: &Pod, facts: &Facts) -> Next {
    let mut pod = pod.clone();
    let slot = &mut pod.slots[Step::ConfigureCni.rank()];
    if slot.status == Status::Maybe && facts.inherited {
        slot.status = Status::Never;
    }
    decide(&pod, facts)
}

fn overgrown() -> Schedule {
    let mut schedule = Schedule {
        clients: vec![
            Client {
                mode: Mode::Alone,
                calls: vec![Call::Start, Call::Stop],
            },
            Client {
                mode: Mode::Cni,
                calls: vec![Call::Start, Call::Stop],
            },
        ],
        faults: vec![Fault::once(
            Step::Start,
            Site::Quiet,
            Mishap::Fail { after: 0 },
        )],
        persistent: true,
        ..Schedule::default()
    };
    schedule.setup.attachments = 2;
    schedule.setup.seed = 3;
    schedule
}

/// The first crash of the overgrown schedule after which something is wrong.
fn found() -> Counterexample {
    let world = World::default().deciding(forgets_addresses);
    let points = world.run(&overgrown()).points;
    let schedules = (1..=points).map(|point| {
        overgrown()
            .dying(point, Crash::Kill { strays: true })
            .asking(1, 0, Call::Stop)
    });
    let mut wrong = schedules.filter(|schedule| !world.run(schedule).complaints.is_empty());
    let first = wrong.next().expect("the flaw shows somewhere");
    Counterexample::shrunk(&world, &first)
}

#[test]
fn what_is_not_needed_is_left_out() {
    let Counterexample { schedule, .. } = found();
    assert_eq!(schedule.clients.len(), 1, "{schedule:?}");
    assert_eq!(schedule.clients[0].calls, [Call::Start]);
    assert_eq!((schedule.faults.len(), schedule.requests.len()), (0, 0));
    assert_eq!((schedule.deaths.len(), schedule.persistent), (1, false));
    assert_eq!(schedule.setup, Setup::default());
}

/// What is printed here stands in `tests/pasted.rs`, where it compiles and finds
/// the same.
#[test]
fn a_counterexample_is_a_test_that_can_be_pasted() {
    assert_pasted(&found());
}

/// Every field and every variant is printed so that it compiles, and means the
/// same.
#[test]
fn whatever_a_schedule_can_hold_can_be_pasted() {
    let all = Counterexample {
        schedule: everything(),
        complaints: vec!["wrong\nin two lines".to_owned()],
    };
    assert_pasted(&all);
}

#[track_caller]
fn assert_pasted(found: &Counterexample) {
    let printed = found.to_string();
    let from = printed.find("let schedule").expect("a schedule");
    let to = printed.find("let run").expect("a run");
    // Formatted by rustfmt it has other breaks and final commas.
    let bare = |text: &str| -> String {
        let text: String = text.split_whitespace().collect();
        text.replace(",]", "]")
            .replace(",}", "}")
            .replace(",)", ")")
    };
    let pasted = bare(include_str!("../../../tests/pasted.rs"));
    assert!(pasted.contains(&bare(&printed[from..to])), "{found}");
    assert!(printed.lines().all(|line| !line.starts_with("in two")));
}

fn everything() -> Schedule {
    let pod = podwalk_engine::id::PodId([7; 16]);
    let fault = |site, mishap| Fault::once(Step::Start, site, mishap);
    let client = |mode, calls: &[Call]| Client {
        mode,
        calls: calls.to_vec(),
    };
    Schedule {
        setup: Setup {
            attachments: 2,
            late: 1,
            consumes_network: true,
            restless: true,
            policy: podwalk_engine::decide::Policy {
                resume: false,
                attempts: 2,
                debt_grace: std::time::Duration::from_nanos(5),
            },
            recovery_at_once: 3,
            seed: 4,
        },
        faults: vec![
            fault(Site::Apply, Mishap::Fail { after: 1 }).of(pod),
            fault(Site::Undo, Mishap::Hang { after: 2 }).of_attachment(3),
            Fault::for_ever(Step::Create, Site::Probe, Mishap::LoseAnswer),
            fault(Site::Quiet, Mishap::Nonsense).at_most(6),
        ],
        clients: vec![
            client(Mode::Cni, &[Call::Start, Call::Pause, Call::Stop]),
            client(Mode::Alone, &[Call::Die, Call::Remove]),
            client(Mode::Host, &[]),
            client(Mode::GuestOf(0), &[]),
        ],
        ..Schedule::default()
    }
    .asking(5, 1, Call::Stop)
    .dying(6, Crash::Kill { strays: false })
    .dying(
        7,
        Crash::Power {
            kept: 8,
            disk_lost: true,
        },
    )
}
