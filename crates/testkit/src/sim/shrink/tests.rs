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
    let printed = found().to_string();
    let from = printed.find("let schedule").expect("a schedule");
    let to = printed.find("let run").expect("a run");
    let pasted = include_str!("../../../tests/pasted.rs");
    let squeezed = |text: &str| -> String { text.replace(",]", "]").split_whitespace().collect() };
    let (pasted, printed) = (squeezed(pasted), squeezed(&printed[from..to]));
    let bare = |text: String| text.replace(",]", "]").replace(",}", "}");
    assert!(bare(pasted).contains(&bare(printed.clone())), "{}", found());
}
