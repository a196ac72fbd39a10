//! What of the engine is pure: who is answered what, and the gate. Everything
//! else runs on the simulated machine (`tests/simulated`).

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::answer::{Wanted, buried, verdict};
use super::gate::{Gate, Pass};
use super::*;
use crate::decide::Next;
use crate::error::{ErrorKind, StepError};
use crate::fixture::{Story, at, failed, goal as wants, pod_id as id_of, spec as spec_of, undone};
use crate::record::{Direction, Observation, Record};

mod rungs;

/// The answer at a decision: none, ok, or the error's kind.
fn answer(story: &Story, next: &Next, wanted: Wanted) -> Option<Result<(), EngineErrorKind>> {
    let answer = verdict(&story.pod(), next, false, wanted)?;
    Some(answer.map_err(|error| error.kind()))
}

fn owing(goal: Goal) -> Story {
    Story::new(NetworkMode::Cni, 1)
        .started()
        .then(wants(goal))
        .then(undone(Step::Start, None))
        .then(failed(Step::ConfigureCni, Direction::Down, Some(0)))
}

/// ConfigureCni has failed, and the start with it.
fn turned_down(error: StepError) -> Record {
    Record::Goal {
        goal: Goal::Remove,
        cause: Cause::StartFailed {
            step: Step::ConfigureCni,
            error,
        },
    }
}

fn owe() -> Next {
    Next::Owe {
        step: Step::ConfigureCni,
        wait: Duration::from_secs(1),
    }
}

const EVERYBODY: [Wanted; 6] = [
    Wanted::Running,
    Wanted::Reached(Step::MountNetns),
    Wanted::Goal(Goal::Stop),
    Wanted::Goal(Goal::Remove),
    Wanted::Paid,
    Wanted::AtRest,
];

#[test]
fn nobody_is_answered_while_the_walk_goes_on() {
    let started = Story::new(NetworkMode::Cni, 1).started();
    for next in [
        Next::Look(Step::Start),
        Next::Climb(Step::Start, Durability::Process),
        Next::Descend(Step::Start),
        Next::Outlive(Goal::Stop),
        Next::Forget,
    ] {
        for wanted in EVERYBODY {
            assert_eq!(answer(&started, &next, wanted), None, "{next:?} {wanted:?}");
        }
    }
}

#[test]
fn a_start_is_answered_when_the_sandbox_runs_or_has_exited() {
    let started = Story::new(NetworkMode::Cni, 1).started();
    assert_eq!(answer(&started, &Next::Rest, Wanted::Running), Some(Ok(())));
    let exited = started.observes(Observation::Exited { code: None });
    let failed = Some(Err(EngineErrorKind::Failed));
    assert_eq!(answer(&exited, &Next::Rest, Wanted::Running), failed);
    let below = Story::new(NetworkMode::Cni, 1).up_to(Step::ConfigureCni);
    assert_eq!(answer(&below, &Next::Rest, Wanted::Running), None);
}

/// Another start may come through, so that a client is told to try again.
#[test]
fn a_start_that_was_interrupted_too_often_may_be_tried_again() {
    let cause = Cause::AttemptsExhausted {
        step: Step::MountNetns,
    };
    let turned_down = Record::Goal {
        goal: Goal::Remove,
        cause,
    };
    let story = Story::new(NetworkMode::Cni, 1)
        .begins(Step::MountNetns)
        .then(turned_down);
    let error = buried(&story.pod(), Wanted::Running).unwrap_err();
    assert_eq!(error.kind(), EngineErrorKind::Retry);
    let told = error.to_string();
    assert!(
        told.contains("MountNetns") && told.contains("start the pod anew"),
        "{told}"
    );
}

#[test]
fn a_step_is_answered_with_all_below_it() {
    let there = Story::new(NetworkMode::Cni, 1).up_to(Step::ReadyNetwork);
    let reached = |step| answer(&there, &Next::Rest, Wanted::Reached(step));
    assert_eq!(reached(Step::MountNetns), Some(Ok(())));
    assert_eq!(reached(Step::ReadyNetwork), Some(Ok(())));
    assert_eq!(reached(Step::ConfigureCni), None);
    // Steps that a mode has not hold of themselves.
    let host = Story::new(NetworkMode::Host, 0).up_to(Step::Create);
    let reached = answer(&host, &Next::Rest, Wanted::Reached(Step::ConfigureCni));
    assert_eq!(reached, Some(Ok(())));
}

#[test]
fn a_stop_is_answered_when_the_pod_is_down_and_a_remove_by_its_burial_alone() {
    let down = Story::new(NetworkMode::Cni, 1).started().stopped();
    let stop = Wanted::Goal(Goal::Stop);
    assert_eq!(answer(&down, &Next::Rest, stop), Some(Ok(())));
    // The decision to rest was made a moment before the goal was raised.
    let asked = down.then(wants(Goal::Remove));
    let remove = Wanted::Goal(Goal::Remove);
    assert_eq!(answer(&asked, &Next::Rest, remove), None);
    assert_eq!(buried(&asked.pod(), remove), Ok(()));
    let started = Story::new(NetworkMode::Cni, 1)
        .started()
        .then(wants(Goal::Stop));
    assert_eq!(answer(&started, &Next::Rest, stop), None);
}

#[test]
fn who_waits_for_what_is_owed_hears_of_it_until_it_is_outlived() {
    let retry = Some(Err(EngineErrorKind::Retry));
    for goal in [Goal::Stop, Goal::Remove] {
        let owing = owing(goal);
        assert_eq!(answer(&owing, &owe(), Wanted::Goal(goal)), retry);
        let outlived = owing.observes(Observation::Outlived { goal });
        let answered = answer(&outlived, &owe(), Wanted::Goal(goal));
        assert_eq!(answered, Some(Ok(())));
    }
    // A Stop that was answered early answers no Remove.
    let stopped = owing(Goal::Stop)
        .observes(Observation::Outlived { goal: Goal::Stop })
        .then(wants(Goal::Remove));
    assert_eq!(answer(&stopped, &owe(), Wanted::Goal(Goal::Remove)), retry);
}

/// Paid is who rests without a debt, or is gone; an outlived debt is owed.
#[test]
fn who_pays_is_answered_when_the_try_has_ended() {
    let retry = Some(Err(EngineErrorKind::Retry));
    for goal in [Goal::Stop, Goal::Remove] {
        let owing = owing(goal);
        assert_eq!(answer(&owing, &owe(), Wanted::Paid), retry);
        let outlived = owing.observes(Observation::Outlived { goal });
        assert_eq!(answer(&outlived, &owe(), Wanted::Paid), retry);
    }
    let down = Story::new(NetworkMode::Cni, 1).started().stopped();
    assert_eq!(answer(&down, &Next::Rest, Wanted::Paid), Some(Ok(())));
    let closing = verdict(&owing(Goal::Stop).pod(), &Next::Rest, true, Wanted::Paid);
    assert_eq!(closing, Some(Err(EngineError::Closing)));
    assert_eq!(buried(&owing(Goal::Remove).pod(), Wanted::Paid), Ok(()));
}

/// What was decided before somebody asked for a try is no answer to it.
#[test]
fn who_asks_for_a_try_gets_no_answer_from_before_it() {
    let pod = owing(Goal::Stop).pod();
    let slot = Slot::new(pod.clone(), Step::AttachLate, false);
    let before = slot.facts(pod.last, Policy::default(), false).1;
    let mut paid = slot.wait_urgently(Wanted::Paid);
    let owes = |pod: &Pod, wanted| verdict(pod, &owe(), false, wanted);
    assert!(!slot.tell(&before, owes));
    assert_eq!(paid.try_recv(), Ok(None));
    let since = slot.facts(pod.last, Policy::default(), false).1;
    assert!(since.urgent && slot.tell(&since, owes));
    let told = paid.try_recv().unwrap().unwrap();
    assert_eq!(told.unwrap_err().kind(), EngineErrorKind::Retry);
}

#[test]
fn an_error_that_a_debt_is_behind_says_so_and_what_can_be_done() {
    let pod = owing(Goal::Remove).pod();
    let owed = pod.owed().remove(0);
    assert_eq!(owed.to_string(), "ConfigureCni of network net0");
    let held = |debt| EngineError::Held {
        what: "the name web".to_owned(),
        holder: pod.id,
        debt,
    };
    let by_a_pod = held(None);
    assert!(!by_a_pod.names_debt());
    assert!(by_a_pod.to_string().contains("stop that pod"));
    let by_a_debt = held(Some(Box::new(owed)));
    assert!(by_a_debt.names_debt());
    let told = by_a_debt.to_string();
    assert!(told.contains("still owes the undo of ConfigureCni of network net0"));
    assert!(told.contains("pay or forgive"), "{told}");
    // A number, where the plan does not know it.
    assert_eq!(pod.network_of(7), "attachment 7");
}

#[test]
fn what_is_not_known_is_looked_at_again_later_and_later_by_one_at_a_time() {
    let mut again = again::Again::default();
    assert_eq!(again.begin(false, at(1, 5)), None);
    assert_eq!(again.in_vain(&at(1, 6)), Duration::ZERO);
    let mut waits = Vec::new();
    for _ in 0..8 {
        waits.extend(again.begin(true, at(1, 7)).map(|wait| wait.as_secs()));
        assert_eq!(again.begin(true, at(1, 7)), None, "somebody waits");
        again.end();
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
    assert_eq!(again.in_vain(&at(1, 10)), Duration::from_secs(3));
    assert_eq!(again.begin(false, at(1, 5)), None);
    assert_eq!(again.in_vain(&at(1, 10)), Duration::ZERO);
    assert_eq!(again.begin(true, at(1, 7)), Some(Duration::from_secs(1)));
}

/// Scenario 36: the first cause first, what the clean-up met after it.
#[test]
fn scenario_36_a_failed_start_names_its_cause_and_then_what_it_owes() {
    let error = StepError::new(ErrorKind::Environment, "no plugin 'bridge'").remedy("install it");
    let story = Story::new(NetworkMode::Cni, 1)
        .up_to(Step::ReadyNetwork)
        .begins(Step::ConfigureCni)
        .then(turned_down(error))
        .then(failed(Step::ConfigureCni, Direction::Down, Some(0)));
    let told = verdict(&story.pod(), &owe(), false, Wanted::Running);
    let told = told.unwrap().unwrap_err();
    assert_eq!(
        told.to_string(),
        format!(
            "pod {}: ConfigureCni failed: no plugin 'bridge' (install it); \
             undoing ConfigureCni of network net0 failed: no",
            id_of(1)
        )
    );
    assert_eq!(told.kind(), EngineErrorKind::Environment);
    assert!(told.names_debt());
    let gone = buried(&story.pod(), Wanted::Running).unwrap_err();
    assert!(gone.to_string().contains("no plugin 'bridge'"));
}

#[test]
fn a_debt_is_named_where_there_is_one() {
    let id = id_of(1);
    let failed = EngineError::StartFailed {
        id,
        step: Step::Start,
        error: StepError::new(ErrorKind::Failed, "no"),
        afterwards: Vec::new(),
    };
    assert!(!failed.names_debt());
    assert!(!EngineError::Stopped { id }.names_debt());
    let debts = owing(Goal::Stop).pod().owed();
    assert!(EngineError::Owes { id, debts }.names_debt());
}

/// Design, section 3, rules 5 and 7, and section 4.
#[test]
fn a_pod_is_seen_as_long_as_its_clients_have_to_do_with_it() {
    let cni = || Story::new(NetworkMode::Cni, 1);
    let seen = |story: &Story| story.pod().is_listed();
    assert!(!seen(&cni().up_to(Step::ConfigureCni)), "on its way up");
    assert!(seen(&cni().started()));
    assert!(seen(&cni().started().then(wants(Goal::Stop))));
    let removing = cni().started().then(wants(Goal::Remove));
    assert!(seen(&removing), "asked to go, and not gone yet");
    let outlived = Observation::Outlived { goal: Goal::Remove };
    assert!(!seen(&owing(Goal::Remove).observes(outlived)));
    let failed_start = cni()
        .up_to(Step::ReadyNetwork)
        .begins(Step::ConfigureCni)
        .then(turned_down(StepError::new(ErrorKind::Failed, "no")));
    assert!(!seen(&failed_start), "it never was anybody's");
    let owes = failed_start.then(failed(Step::ConfigureCni, Direction::Down, Some(0)));
    assert!(seen(&owes), "it is there as long as it owes");
}

#[test]
fn a_daemon_that_ends_says_so_to_who_cannot_be_answered_otherwise() {
    let up = Story::new(NetworkMode::Cni, 1).up_to(Step::MountNetns);
    let closing = |story: &Story, wanted| {
        verdict(&story.pod(), &Next::Rest, true, wanted).map(|answer| answer.map_err(|e| e.kind()))
    };
    let retry = Some(Err(EngineErrorKind::Retry));
    assert_eq!(closing(&up, Wanted::Running), retry);
    assert_eq!(closing(&up, Wanted::Reached(Step::Start)), retry);
    assert_eq!(closing(&up, Wanted::AtRest), Some(Ok(())));
    assert_eq!(
        closing(&up, Wanted::Reached(Step::MountNetns)),
        Some(Ok(()))
    );
    let down = Story::new(NetworkMode::Cni, 1)
        .started()
        .stopped()
        .then(wants(Goal::Remove));
    assert_eq!(closing(&down, Wanted::Goal(Goal::Remove)), retry);
}

#[test]
fn every_error_has_a_kind_and_names_what_it_is_about() {
    let (id, step) = (id_of(1), Step::MountNetns);
    let key = spec_of(NetworkMode::Cni).key();
    let error = StepError::new(ErrorKind::Timeout, "it hung");
    let kinds = [
        (EngineError::NoSuchPod { id }, EngineErrorKind::NotFound),
        (
            EngineError::NoSuchDebt { id, step },
            EngineErrorKind::NotFound,
        ),
        (EngineError::OwesNothing { id }, EngineErrorKind::Conflict),
        (
            EngineError::NotForgivable { id, step },
            EngineErrorKind::Invalid,
        ),
        (
            EngineError::IdTaken {
                id,
                key: key.clone(),
            },
            EngineErrorKind::Conflict,
        ),
        (
            EngineError::AlreadyExists { key, id },
            EngineErrorKind::Conflict,
        ),
        (
            EngineError::OwnerNotStarted { owner: id },
            EngineErrorKind::Conflict,
        ),
        (EngineError::Stopped { id }, EngineErrorKind::Conflict),
        (EngineError::Exited { id }, EngineErrorKind::Failed),
        (
            EngineError::StartFailed {
                id,
                step,
                error,
                afterwards: Vec::new(),
            },
            EngineErrorKind::Timeout,
        ),
    ];
    for (error, kind) in kinds {
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(&id.to_string()), "{error}");
    }
    let full = JournalError::Full {
        detail: "no space".to_owned(),
    };
    assert_eq!(EngineError::from(full).kind(), EngineErrorKind::Environment);
    let large = JournalError::TooLarge { bytes: 2, limit: 1 };
    assert_eq!(EngineError::from(large).kind(), EngineErrorKind::Invalid);
    assert_eq!(EngineError::Closing.kind(), EngineErrorKind::Retry);
}

/// Between its admission and its first records a second request may join it,
/// or a stop may find it.
#[test]
fn who_calls_a_pod_that_is_not_born_yet_sets_off_no_second_walk() {
    let pod = Story::new(NetworkMode::Cni, 1).pod();
    let (slot, pen) = Slot::new_held(pod, Step::AttachLate);
    assert!(!slot.call());
    drop(pen);
    // The one walk looks again before it rests.
    assert!(!slot.rest());
    assert!(slot.rest());
    assert!(slot.call());
}

fn enter(gate: &Gate) -> impl Future<Output = Pass> + use<> {
    let gate = gate.clone();
    async move { gate.enter().await }
}

fn poll<T>(future: &mut std::pin::Pin<Box<impl Future<Output = T>>>) -> Option<T> {
    match future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(end) => Some(end),
        Poll::Pending => None,
    }
}

#[test]
fn the_gate_lets_so_many_in_and_the_next_one_when_one_leaves() {
    let gate = Gate::new(2);
    let first = poll(&mut Box::pin(enter(&gate))).unwrap();
    let second = poll(&mut Box::pin(enter(&gate))).unwrap();
    let (mut third, mut fourth) = (Box::pin(enter(&gate)), Box::pin(enter(&gate)));
    assert!(poll(&mut third).is_none() && poll(&mut fourth).is_none());
    drop(first);
    assert!(poll(&mut fourth).is_none(), "first come, first served");
    let third = poll(&mut third).unwrap();
    drop((second, third));
    assert!(poll(&mut fourth).is_some());
}

#[test]
fn who_gives_up_waiting_at_the_gate_takes_no_place() {
    let gate = Gate::new(1);
    let inside = poll(&mut Box::pin(enter(&gate))).unwrap();
    let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(enter(&gate))).collect();
    for one in &mut waiting {
        assert!(poll(one).is_none());
    }
    let mut last = waiting.pop().unwrap();
    drop(waiting);
    drop(inside);
    assert!(poll(&mut last).is_some());
    // One who was let in and gives up before hearing of it leaves too.
    let inside = poll(&mut Box::pin(enter(&gate))).unwrap();
    let mut let_in = Box::pin(enter(&gate));
    assert!(poll(&mut let_in).is_none());
    drop(inside);
    drop(let_in);
    assert!(poll(&mut Box::pin(enter(&gate))).is_some());
}

#[test]
fn a_gate_for_nobody_lets_one_in() {
    assert!(poll(&mut Box::pin(enter(&Gate::new(0)))).is_some());
}
