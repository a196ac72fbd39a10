//! Networks that are attached when the sandbox runs: the same promise.

use std::time::Duration;

use podwalk_engine::decide::{Facts, Next, Policy, decide};
use podwalk_engine::pod::{Pod, Status};
use podwalk_engine::ports::{Durability, Probe};
use podwalk_engine::step::Step;
use podwalk_testkit::sim::{
    Call, Fault, Mishap, Mode, Schedule, Setup, Share, Site, Survey, World,
};

use super::flaws::caught_by;
use super::proved;

const UP: &[Call] = &[Call::Start];
const ALL_THE_WAY: &[Call] = &[Call::Start, Call::Stop, Call::Remove];

/// One network before the sandbox, and so many after.
fn late(late: u32, calls: &[Call]) -> Schedule {
    let setup = Setup {
        attachments: 1 + late,
        late,
        ..Setup::default()
    };
    Schedule {
        setup,
        ..Schedule::of(Mode::Cni, calls)
    }
}

fn failing(fault: Fault) -> Schedule {
    Schedule {
        faults: vec![fault],
        ..late(1, ALL_THE_WAY)
    }
}

fn two_crashes(share: Share) {
    let survey = World::default().crashes(&late(1, UP), 2, share);
    assert!(survey.runs > 5_000, "only {} runs", survey.runs);
    let what = format!("late, two crashes, part {} of {}", share.part, share.of);
    proved(&what, &survey, &[]);
}

#[test]
fn two_crashes_of_a_start_1() {
    two_crashes(Share { part: 0, of: 2 });
}

#[test]
fn two_crashes_of_a_start_2() {
    two_crashes(Share { part: 1, of: 2 });
}

fn request_and_crash(asked: &[Call]) {
    let survey = World::default().requests(&late(1, ALL_THE_WAY), asked, Share::ALL);
    assert!(survey.runs > 5_000, "only {} runs", survey.runs);
    let what = format!("late, {asked:?} at every moment and one crash");
    proved(&what, &survey, &Step::ALL);
}

#[test]
fn a_stop_and_a_crash() {
    request_and_crash(&[Call::Stop]);
}

/// Also while its late networks are attached: then the start has failed.
#[test]
fn a_sandbox_that_dies_and_a_crash() {
    request_and_crash(&[Call::Die]);
}

#[test]
fn one_crash_all_the_way_however_it_is_set_up() {
    let mut all = Survey::default();
    for number in [1, 2] {
        for (consumes_network, restless, resume) in [
            (false, false, true),
            (true, false, true),
            (false, true, true),
            (false, false, false),
        ] {
            let mut schedule = late(number, ALL_THE_WAY);
            schedule.setup.consumes_network = consumes_network;
            schedule.setup.restless = restless;
            schedule.setup.policy.resume = resume;
            all = all.and(World::default().crashes(&schedule, 1, Share::ALL));
        }
    }
    proved("late, one crash", &all, &Step::ALL);
}

/// Rule 6: what DEL has done for a late network may be unwritten when power
/// fails, and an ADD that is old is on disk for good.
#[test]
fn two_crashes_of_a_pod_whose_add_is_on_disk_for_good() {
    let calls = [Call::Start, Call::Pause, Call::Stop, Call::Remove];
    let survey = World::default().crashes(&late(1, &calls), 2, Share { part: 0, of: 6 });
    proved("late, an old ADD", &survey, &[]);
}

/// AttachLate and its undo go wrong in every way, once or for ever, as does
/// the undo of the sandbox beside it, with a crash at every point.
#[test]
fn one_crash_while_a_late_network_goes_wrong() {
    let mishaps = [
        Mishap::Fail { after: 0 },
        Mishap::Fail { after: 1 },
        Mishap::LoseAnswer,
        Mishap::Hang { after: 1 },
    ];
    let mut all = Survey::default();
    for site in [Site::Apply, Site::Undo, Site::Probe, Site::Quiet] {
        for mishap in mishaps {
            for fault in [
                Fault::once(Step::AttachLate, site, mishap),
                Fault::for_ever(Step::AttachLate, site, mishap),
            ] {
                all = all.and(World::default().crashes(&failing(fault), 1, Share::ALL));
            }
        }
    }
    proved("late, AttachLate goes wrong", &all, &Step::ALL);
}

/// The network and the sandbox owe both: neither is answered for while the
/// sandbox may live.
#[test]
fn one_crash_while_network_and_sandbox_cannot_be_undone() {
    let mut all = Survey::default();
    for debt_grace in [Duration::ZERO, Policy::default().debt_grace] {
        for times in [2, 5] {
            let undo = |step| Fault::for_ever(step, Site::Undo, Mishap::Fail { after: 0 });
            let mut schedule = failing(undo(Step::AttachLate));
            schedule.faults.push(undo(Step::Start).at_most(times));
            schedule.setup.policy.debt_grace = debt_grace;
            all = all.and(World::default().crashes(&schedule, 1, Share::ALL));
        }
    }
    proved("late, two debts", &all, &[]);
}

// Engines that are broken on purpose.

fn explored(world: &World) -> Survey {
    let mut survey = world.crashes(&late(1, ALL_THE_WAY), 1, Share::ALL);
    for site in [Site::Apply, Site::Undo] {
        let fault = Fault::for_ever(Step::AttachLate, site, Mishap::Fail { after: 1 });
        if survey.found.is_empty() {
            survey = survey.and(world.crashes(&failing(fault), 1, Share::ALL));
        }
    }
    survey
}

/// Rule 7 left out: the sandbox waits until its late networks are let go.
fn keeping_alive(pod: &Pod, facts: &Facts) -> Next {
    let step = Step::AttachLate;
    match decide(pod, facts) {
        Next::Descend(Step::Start) if pod.status(step) != Status::Never => Next::Owe {
            step,
            wait: Duration::from_secs(60),
        },
        next => next,
    }
}

#[test]
fn an_engine_that_keeps_a_sandbox_alive_for_a_network_is_caught() {
    let world = World::default().deciding(keeping_alive);
    caught_by("keeping alive", &world, explored, &["lives on"]);
}

/// Rule 1 left out, the half about the platter.
fn not_on_the_platter(pod: &Pod, facts: &Facts) -> Next {
    match decide(pod, facts) {
        Next::Climb(Step::AttachLate, _) => Next::Climb(Step::AttachLate, Durability::Process),
        next => next,
    }
}

#[test]
fn an_engine_whose_intent_is_not_on_the_platter_before_a_late_add_is_caught() {
    let world = World::default().deciding(not_on_the_platter);
    caught_by("late intent", &world, explored, &["AttachLate of"]);
}

/// Rule 8 left out: a late ADD is repeated without a DEL.
fn adding_twice(pod: &Pod, facts: &Facts) -> Next {
    match decide(pod, facts) {
        Next::Look(Step::AttachLate) => Next::Climb(Step::AttachLate, Durability::Power),
        next => next,
    }
}

#[test]
fn an_engine_that_repeats_a_late_add_is_caught() {
    let world = World::default().deciding(adding_twice);
    caught_by("adding twice", &world, explored, &["made over itself"]);
}

/// A sandbox that another process has started is believed in, not looked at.
fn attaching_blindly(pod: &Pod, facts: &Facts) -> Next {
    let mut facts = facts.clone();
    let before_late = pod.has_sandbox() && !pod.is_started();
    if before_late && facts.found.is_none() {
        facts.found = Some((Step::Start, Probe::Complete(())));
    }
    decide(pod, &facts)
}

#[test]
fn an_engine_that_attaches_late_networks_to_a_dead_sandbox_is_caught() {
    let world = World::default().deciding(attaching_blindly);
    let dying = |world: &World| {
        let schedule = late(1, ALL_THE_WAY);
        world.requests(&schedule, &[Call::Die], Share { part: 0, of: 2 })
    };
    caught_by("attaching blindly", &world, dying, &["Sandbox of"]);
}
