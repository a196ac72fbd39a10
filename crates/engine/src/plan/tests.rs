use std::time::Duration;

use super::*;
use crate::decide::Policy;
use crate::fixture::*;
use crate::record::{Direction, Observation, Record};
use crate::step::NetworkMode;

fn facts() -> Facts {
    Facts {
        now: at(1, 10_000),
        policy: Policy::default(),
        found: None,
        in_vain: Duration::ZERO,
        inherited: true,
        urgent: false,
        hold: Step::AttachLate,
        closing: false,
    }
}

fn told(story: &Story, facts: &Facts) -> Vec<String> {
    let plan = plan(&story.pod(), facts);
    plan.iter().map(ToString::to_string).collect()
}

#[test]
fn a_new_pod_is_planned_all_the_way_up() {
    assert_eq!(
        told(&Story::new(NetworkMode::Cni, 1), &facts()),
        [
            "look at Create",
            "record and take Create",
            "record and take MountNetns",
            "record and take ReadyNetwork",
            "record and take ConfigureCni",
            "record and take Start",
            "rest",
        ]
    );
}

/// What a look would find is not known: the costlier finding is planned.
#[test]
fn attachments_that_may_have_been_added_are_planned_to_be_undone_first() {
    let story = Story::new(NetworkMode::Cni, 2)
        .up_to(Step::ReadyNetwork)
        .begins(Step::ConfigureCni);
    assert_eq!(
        told(&story, &facts()),
        [
            "look at ConfigureCni",
            "undo ConfigureCni",
            "record on the platter and take ConfigureCni",
            "record and take Start",
            "rest",
        ]
    );
}

#[test]
fn a_consumed_network_is_planned_to_be_made_anew_from_created() {
    let mut pod = Story::new(NetworkMode::Cni, 1)
        .up_to(Step::ConfigureCni)
        .begins(Step::Start)
        .pod();
    if let Some(crate::record::Intent::Start(start)) = &mut pod.slots[Step::Start.rank()].intent {
        start.consumes_network = true;
    }
    let plan = plan(&pod, &facts());
    let told: Vec<_> = plan.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "look at Start",
            "record that all above Created is made anew",
            "undo Start",
            "undo ConfigureCni",
            "undo ReadyNetwork",
            "undo MountNetns",
            "record and take MountNetns",
            "record and take ReadyNetwork",
            "record on the platter and take ConfigureCni",
            "record and take Start",
            "rest",
        ]
    );
}

#[test]
fn a_started_pod_is_looked_at_once() {
    let story = Story::new(NetworkMode::Host, 0).started();
    assert_eq!(told(&story, &facts()), ["look at Start", "rest"]);
}

/// A plan may begin after the look: what was found is what it goes on from.
#[test]
fn what_was_found_complete_is_adopted_and_not_taken_again() {
    let story = Story::new(NetworkMode::Cni, 1)
        .up_to(Step::ConfigureCni)
        .begins(Step::Start);
    let mut facts = facts();
    facts.found = Some((Step::Start, Probe::Complete(())));
    let told_of = told(&story, &facts);
    assert_eq!(told_of, ["adopt Start as it is", "look at Start", "rest"]);
    facts.found = Some((Step::Start, Probe::Absent));
    let started = Story::new(NetworkMode::Cni, 1).started();
    let told_of = told(&started, &facts);
    assert_eq!(told_of, ["record that the sandbox has exited", "rest"]);
}

#[test]
fn a_removal_ends_with_the_pod_forgotten() {
    let story = Story::new(NetworkMode::None, 0)
        .started()
        .then(goal(Goal::Remove));
    assert_eq!(
        told(&story, &facts()),
        [
            "undo Start",
            "undo ConfigureCni",
            "undo ReadyNetwork",
            "undo MountNetns",
            "undo Create",
            "forget the pod",
        ]
    );
}

#[test]
fn a_start_that_is_not_to_be_resumed_is_planned_down() {
    let mut facts = facts();
    facts.policy.resume = false;
    let story = Story::new(NetworkMode::Cni, 1).up_to(Step::MountNetns);
    assert_eq!(
        told(&story, &facts),
        [
            "turn down (interrupted, and not to be resumed)",
            "undo MountNetns",
            "undo Create",
            "forget the pod",
        ]
    );
}

#[test]
fn a_debt_is_planned_with_its_wait() {
    let story = Story::new(NetworkMode::Cni, 1)
        .started()
        .then(goal(Goal::Stop))
        .then(undone(Step::Start, None))
        .then(failed(Step::ConfigureCni, Direction::Down, Some(0)));
    let mut facts = facts();
    facts.now = story.pod().last;
    let step = Step::ConfigureCni;
    let wait = Duration::from_secs(1);
    let owing = plan(&story.pod(), &facts);
    assert_eq!(owing[0], Next::Owe { step, wait });
    assert_eq!(owing.last(), Some(&Next::Rest));
}

#[test]
fn every_cause_is_told_in_words() {
    let error = error("the plugin said no").remedy("mend it");
    let step = Step::ConfigureCni;
    for (cause, told) in [
        (Cause::Request, "as requested"),
        (
            Cause::StartFailed { step, error },
            "ConfigureCni failed: the plugin said no (mend it)",
        ),
        (Cause::NotResumed, "interrupted, and not to be resumed"),
        (
            Cause::AttemptsExhausted { step },
            "ConfigureCni was interrupted as often as is allowed",
        ),
        (Cause::Reboot, "the machine was booted anew"),
    ] {
        assert_eq!(cause.to_string(), told);
    }
}

/// Planning is done for every pod at every start: it changes nothing.
#[test]
fn a_plan_touches_neither_pod_nor_facts() {
    let story = Story::new(NetworkMode::Cni, 1)
        .started()
        .observes(Observation::Exited { code: Some(1) });
    let story = story.then(Record::Goal {
        goal: Goal::Stop,
        cause: Cause::Request,
    });
    let (pod, facts) = (story.pod(), facts());
    let first = plan(&pod, &facts);
    assert_eq!(plan(&pod, &facts), first);
    assert_eq!(pod, story.pod());
}
