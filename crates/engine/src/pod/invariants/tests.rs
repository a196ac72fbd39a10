//! Each invariant where it just holds, and where it just does not.

use super::*;
use crate::fixture::{Story, at, error, namespace};
use crate::pod::{AttachmentStatus, Debt, Exit};
use crate::step::NetworkMode;

/// Two attachments planned and made, and a running sandbox.
fn started() -> Pod {
    Story::new(NetworkMode::Cni, 2).started().pod()
}

fn stopped() -> Pod {
    Story::new(NetworkMode::Cni, 2).started().stopped().pod()
}

fn broken(mut pod: Pod, change: impl FnOnce(&mut Pod)) -> Option<&'static str> {
    change(&mut pod);
    pod.broken_invariant()
}

fn set(pod: &mut Pod, step: Step, status: Status, climbs: u32) {
    let slot = &mut pod.slots[step.rank()];
    slot.status = status;
    slot.climbs = climbs;
}

#[test]
fn whatever_was_walked_breaks_none() {
    assert_eq!(started().broken_invariant(), None);
    assert_eq!(stopped().broken_invariant(), None);
    let asked = Story::new(NetworkMode::Host, 0).pod();
    assert_eq!(asked.broken_invariant(), None);
}

#[test]
fn a_namespace_needs_a_mount_that_may_be_there() {
    let with = |status| {
        broken(started(), |pod| {
            set(pod, Step::MountNetns, status, 1);
        })
    };
    assert_eq!(with(Status::Maybe), None);
    assert_eq!(
        with(Status::Never),
        Some("a namespace is recorded only while its mount may be there")
    );
    assert_eq!(broken(started(), |pod| pod.namespace = None), None);
    assert!(broken(stopped(), |pod| pod.namespace = Some(namespace())).is_some());
}

#[test]
fn attachments_are_none_or_as_many_as_planned() {
    let with = |count| {
        broken(started(), |pod| {
            pod.attachments = vec![AttachmentStatus::default(); count];
        })
    };
    let uncounted = Some("attachments are counted as in the plan");
    assert_eq!(with(0), None);
    assert_eq!(with(1), uncounted);
    assert_eq!(with(2), None);
    assert_eq!(with(3), uncounted);
}

#[test]
fn what_may_be_there_was_begun() {
    let with = |status, climbs| broken(started(), |pod| set(pod, Step::Start, status, climbs));
    let never_begun = Some("what may be there was begun at least once");
    assert_eq!(with(Status::Never, 0), None);
    assert_eq!(with(Status::Never, 2), None);
    for status in [Status::Maybe, Status::Done] {
        assert_eq!(with(status, 0), never_begun);
        assert_eq!(with(status, 1), None);
        assert_eq!(with(status, 2), None);
    }
}

#[test]
fn who_climbs_again_has_something_to_go_down_from() {
    let restarting = |pod: &mut Pod| pod.restarting = true;
    assert_eq!(broken(started(), restarting), None);
    let nothing = Some("a walk that climbs again has something to go down from");
    // Create is done, and does not count.
    assert_eq!(broken(stopped(), restarting), nothing);
    let lowest = broken(stopped(), |pod| {
        restarting(pod);
        set(pod, Step::MountNetns, Status::Maybe, 1);
    });
    assert_eq!(lowest, None);
}

#[test]
fn an_answer_before_its_time_is_of_what_was_asked_for() {
    let with = |goal, outlived| {
        broken(started(), |pod| {
            pod.goal = goal;
            pod.outlived = outlived;
        })
    };
    for goal in [Goal::Run, Goal::Stop, Goal::Remove] {
        assert_eq!(with(goal, None), None);
        let unasked = Some("only what was asked to end outlives its debts");
        assert_eq!(with(goal, Some(Goal::Run)), unasked, "{goal:?}");
        for outlived in [Goal::Stop, Goal::Remove] {
            let expected = if outlived <= goal { None } else { unasked };
            assert_eq!(
                with(goal, Some(outlived)),
                expected,
                "{goal:?} {outlived:?}"
            );
        }
    }
}

#[test]
fn only_what_may_be_there_is_owed() {
    let with = |status| {
        broken(started(), |pod| {
            set(pod, Step::ConfigureCni, status, 1);
            pod.debts = [Step::Create, Step::ConfigureCni]
                .map(|step| Debt {
                    step,
                    attachment: None,
                    attempts: 1,
                    first: at(1, 1),
                    last: at(1, 1),
                    error: error("no"),
                })
                .to_vec();
        })
    };
    assert_eq!(with(Status::Done), None);
    assert_eq!(with(Status::Maybe), None);
    assert_eq!(with(Status::Never), Some("what is owed may be there"));
}

#[test]
fn only_what_was_started_exits() {
    let exit = Exit {
        noticed: at(1, 1),
        code: None,
    };
    let with = |climbs, exited| {
        broken(stopped(), |pod| {
            set(pod, Step::Start, Status::Never, climbs);
            pod.exited = exited;
        })
    };
    let never_started = Some("a sandbox's end is known only of one that was started");
    assert_eq!(with(0, Some(exit)), never_started);
    assert_eq!(with(0, None), None);
    assert_eq!(with(1, Some(exit)), None);
    assert_eq!(with(2, Some(exit)), None);
}
