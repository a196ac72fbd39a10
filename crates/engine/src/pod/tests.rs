use proptest::prelude::*;

use super::*;
use crate::decide::{Facts, Next, Policy, decide};
use crate::fixture::*;
use crate::ports::Probe;
use crate::record::{Direction, Entry, Observation, Record};

mod arbitrary;
mod fold;
mod late;
mod walk;

/// What a pod knows of what it owes.
fn owed(pod: &Pod) -> Vec<DebtName> {
    pod.debts
        .iter()
        .map(|debt| (debt.step, debt.attachment))
        .collect()
}

#[test]
fn a_pod_that_climbs_is_in_the_state_of_its_last_step() {
    let ladder = NetworkMode::Cni.ladder();
    for step in ladder {
        let pod = Story::new(NetworkMode::Cni, 1).up_to(*step).pod();
        assert_eq!(pod.state(), step.state());
        assert_eq!(pod.is_ready(), *step == Step::Start);
    }
}

#[test]
fn a_started_pod_knows_all_that_was_answered() {
    let pod = Story::new(NetworkMode::Cni, 2).started().pod();
    assert_eq!(pod.namespace, Some(namespace()));
    assert_eq!(pod.plan, planned(2));
    let answered: Vec<_> = pod.attachments.iter().map(|a| a.result.clone()).collect();
    assert_eq!(
        answered,
        results(2).into_iter().map(Some).collect::<Vec<_>>()
    );
    assert_eq!(pod.sandbox.as_ref().map(|s| s.process), Some(process(100)));
    assert_eq!(pod.slot(Step::Start).took_ns, Some(SECOND));
    assert!(pod.is_started() && !pod.is_down() && !pod.is_undone());
}

#[test]
fn a_stopped_pod_has_let_go_of_all_but_its_file() {
    let pod = Story::new(NetworkMode::Cni, 2).started().stopped().pod();
    assert!(pod.is_down() && !pod.is_undone());
    assert_eq!(pod.namespace, None);
    assert_eq!(pod.sandbox, None);
    assert_eq!(pod.state(), State::Created);
    // What a power loss may bring back is undone with the same plan.
    assert_eq!(pod.plan, planned(2));
    assert_eq!(pod.released.map(|stamp| stamp.boot), Some(boot(1)));
}

/// Scenario 57, in every order.
#[test]
fn scenario_57_goals_only_go_up() {
    use Goal::{Remove, Run, Stop};
    for order in [
        [Remove, Stop, Run],
        [Stop, Remove, Stop],
        [Remove, Run, Stop],
        [Run, Stop, Remove],
    ] {
        let mut story = Story::new(NetworkMode::Cni, 1).started();
        for goal in order {
            story = story.then(crate::fixture::goal(goal));
        }
        let reboot = Observation::Rebooted {
            from: boot(1),
            last_record_ns: 0,
            cni_may_be_back: false,
        };
        assert_eq!(story.observes(reboot).pod().goal, Remove, "{order:?}");
    }
}

#[test]
fn the_first_cause_stays() {
    let failed = Cause::StartFailed {
        step: Step::Start,
        error: error("no"),
    };
    let turned = Record::Goal {
        goal: Goal::Remove,
        cause: failed.clone(),
    };
    let story = Story::new(NetworkMode::Cni, 1).then(turned);
    assert_eq!(story.then(goal(Goal::Remove)).pod().cause, failed);
}

#[test]
fn a_debt_counts_its_attempts_and_is_paid_by_its_own_undo_alone() {
    let owing = Story::new(NetworkMode::Cni, 3)
        .started()
        .then(goal(Goal::Stop))
        .then(undone(Step::Start, None))
        .then(failed(Step::ConfigureCni, Direction::Down, Some(1)))
        .then(failed(Step::ConfigureCni, Direction::Down, Some(1)))
        .then(failed(Step::ConfigureCni, Direction::Down, None));
    let pod = owing.pod();
    let cni = Step::ConfigureCni;
    assert_eq!(owed(&pod), [(cni, Some(1)), (cni, None)]);
    assert_eq!(pod.debts[0].attempts, 2);
    assert_eq!(pod.debts[0].last.since(&pod.debts[0].first).as_secs(), 1);

    let one_paid = owing.then(undone(cni, Some(1)));
    assert_eq!(owed(&one_paid.pod()), [(cni, None)]);
    assert_eq!(one_paid.pod().unreleased(cni), [2, 0]);
    assert_eq!(owed(&one_paid.then(undone(cni, None)).pod()), []);
}

#[test]
fn attachments_are_undone_last_first_and_only_those_that_are_left() {
    let story = Story::new(NetworkMode::Cni, 3).started();
    assert_eq!(story.pod().unreleased(Step::ConfigureCni), [2, 1, 0]);
    assert!(story.pod().unreleased(Step::Start).is_empty());
    let story = story.then(undone(Step::ConfigureCni, Some(1)));
    assert_eq!(story.pod().unreleased(Step::ConfigureCni), [2, 0]);
}

/// An operator forgives while the undo is under way and then fails.
#[test]
fn what_was_forgiven_is_not_owed_again_by_an_undo_that_ends_later() {
    let forgive = |attachment| Observation::Forgiven {
        step: Step::ConfigureCni,
        attachment,
        reason: "the plugin is gone".to_owned(),
    };
    for attachment in [None, Some(1)] {
        let story = Story::new(NetworkMode::Cni, 2)
            .started()
            .then(goal(Goal::Stop))
            .then(undone(Step::Start, None))
            .then(failed(Step::ConfigureCni, Direction::Down, attachment))
            .observes(forgive(attachment))
            .then(failed(Step::ConfigureCni, Direction::Down, attachment));
        assert_eq!(owed(&story.pod()), [], "{attachment:?}");
    }
}

#[test]
fn a_sandbox_that_may_be_alive_is_never_forgiven() {
    let story = Story::new(NetworkMode::Cni, 1)
        .started()
        .then(goal(Goal::Stop))
        .then(failed(Step::Start, Direction::Down, None))
        .observes(Observation::Forgiven {
            step: Step::Start,
            attachment: None,
            reason: "try".to_owned(),
        });
    assert_eq!(owed(&story.pod()), [(Step::Start, None)]);
    assert_eq!(story.pod().status(Step::Start), Status::Done);
}

/// A Remove that was answered is never seen again, whatever else is owed.
#[test]
fn an_early_answer_to_remove_stands_when_its_debt_is_paid() {
    let story = Story::new(NetworkMode::Cni, 1)
        .started()
        .then(goal(Goal::Remove))
        .then(undone(Step::Start, None))
        .then(failed(Step::ConfigureCni, Direction::Down, Some(0)))
        .observes(Observation::Outlived { goal: Goal::Remove })
        .then(undone(Step::ConfigureCni, Some(0)))
        .then(undone(Step::ConfigureCni, None))
        .then(failed(Step::MountNetns, Direction::Down, None));
    assert_eq!(story.pod().outlived, Some(Goal::Remove));
}

#[test]
fn an_early_answer_to_stop_is_settled_when_the_pod_is_down() {
    let owing = Story::new(NetworkMode::Cni, 1)
        .started()
        .then(goal(Goal::Stop))
        .then(undone(Step::Start, None))
        .then(failed(Step::ConfigureCni, Direction::Down, Some(0)))
        .observes(Observation::Outlived { goal: Goal::Stop })
        .then(undone(Step::ConfigureCni, Some(0)))
        .then(undone(Step::ConfigureCni, None));
    assert_eq!(owing.pod().outlived, Some(Goal::Stop));
    let owing = owing.then(undone(Step::ReadyNetwork, None));
    assert_eq!(owing.pod().outlived, Some(Goal::Stop));
    let down = owing.then(undone(Step::MountNetns, None));
    assert_eq!(down.pod().outlived, None);
}

#[test]
fn a_restart_trusts_no_done_above_created_and_ends_at_created() {
    let story = Story::new(NetworkMode::Cni, 1)
        .up_to(Step::ConfigureCni)
        .begins(Step::Start)
        .observes(Observation::Restart);
    let pod = story.pod();
    assert!(pod.restarting);
    assert_eq!(pod.status(Step::Create), Status::Done);
    assert!(
        pod.slots[1..5]
            .iter()
            .all(|slot| slot.status == Status::Maybe)
    );
    let down = story.down();
    assert!(!down.pod().restarting);
    assert_eq!(down.pod().goal, Goal::Run);
}

#[test]
fn an_exit_is_known_with_its_code_and_the_first_one_stays() {
    let story = Story::new(NetworkMode::Cni, 1).started();
    let exited = |code| Observation::Exited { code };
    let story = story.observes(exited(Some(137))).observes(exited(None));
    assert_eq!(story.pod().exited.map(|exit| exit.code), Some(Some(137)));
    assert!(!story.pod().is_started() && !story.pod().is_ready());
    assert_eq!(story.pod().status(Step::ConfigureCni), Status::Done);
}

/// What a reboot has left to be released is owed, tried or not.
#[test]
fn what_is_owed_is_counted() {
    let cni = |attachments| Story::new(NetworkMode::Cni, attachments).started();
    let count = |story: &Story| story.pod().count_owed();
    assert_eq!(count(&cni(3)), 0, "a pod that is up owes nothing");
    let stopping = cni(3)
        .then(goal(Goal::Stop))
        .then(undone(Step::Start, None))
        .then(failed(Step::ConfigureCni, Direction::Down, Some(1)));
    assert_eq!(count(&stopping), 1);
    let reboot = Observation::Rebooted {
        from: boot(1),
        last_record_ns: 0,
        cni_may_be_back: false,
    };
    let rebooted = cni(3).observes(reboot.clone());
    assert_eq!(count(&rebooted), 3);
    let tried = rebooted.then(failed(Step::ConfigureCni, Direction::Down, Some(1)));
    assert_eq!(count(&tried), 3, "one of them is a debt now");
    let paid = tried
        .then(undone(Step::ConfigureCni, Some(2)))
        .then(undone(Step::ConfigureCni, Some(1)));
    assert_eq!(count(&paid), 1);
    let all = paid
        .then(undone(Step::ConfigureCni, Some(0)))
        .then(undone(Step::ConfigureCni, None));
    assert_eq!(count(&all), 0);
    assert_eq!(count(&Story::new(NetworkMode::Host, 0).started()), 0);
}

#[test]
fn a_plan_supposes_that_a_new_sandbox_lives() {
    let exited = Observation::Exited { code: Some(1) };
    let mut pod = Story::new(NetworkMode::Cni, 1)
        .started()
        .observes(exited)
        .pod();
    pod.suppose(Step::ConfigureCni, Status::Done);
    assert!(pod.exited.is_some(), "another step says nothing of it");
    pod.suppose(Step::Start, Status::Maybe);
    assert_eq!(pod.exited, None);
}

/// People read the configuration that a pod was attached with; programs get the bytes back.
#[test]
fn a_conflist_is_text_in_json() {
    let mut planned = planned(1).remove(0);
    planned.conflist = br#"{"name":"blue"}"#.to_vec();
    let json = serde_json::to_value(&planned).unwrap();
    assert_eq!(json["conflist"], r#"{"name":"blue"}"#);
    let read: crate::record::PlannedAttachment = serde_json::from_value(json).unwrap();
    assert_eq!(read, planned);
}
