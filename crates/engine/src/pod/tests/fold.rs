//! Records that do not make a pod, and reboots.

use super::*;
use crate::pod::fold;

fn entry(sequence: u64, record: Record) -> Entry {
    Entry {
        pod: pod_id(1),
        sequence,
        stamp: at(1, sequence),
        record,
    }
}

fn refused(entries: &[Entry]) -> String {
    fold(entries).unwrap_err().to_string()
}

#[test]
fn a_gap_is_corruption_wherever_it_is() {
    let whole = Story::new(NetworkMode::Cni, 1).started().stopped().entries;
    for missing in 0..whole.len() - 1 {
        let mut entries = whole.clone();
        entries.remove(missing);
        let gap = FoldError::Gap {
            expected: missing as u64,
            found: missing as u64 + 1,
        };
        assert_eq!(fold(&entries), Err(gap), "without record {missing}");
    }
}

#[test]
fn a_shorter_log_is_a_pod_that_has_come_less_far() {
    let whole = Story::new(NetworkMode::Cni, 1).started().stopped().entries;
    for length in 2..=whole.len() {
        let pod = fold(&whole[..length]).unwrap();
        assert_eq!(pod.next_sequence, length as u64);
    }
}

#[test]
fn what_does_not_begin_with_a_goal_and_an_intent_is_no_pod() {
    let create = Record::Intent(intent(Step::Create, &NetworkMode::Cni));
    assert_eq!(refused(&[]), "no records");
    assert!(refused(&[entry(0, create.clone())]).contains("begins with the goal to run"));
    assert!(refused(&[entry(0, goal(Goal::Stop))]).contains("begins with the goal to run"));
    assert!(refused(&[entry(0, goal(Goal::Run))]).contains("no intent to create follows"));
    let other = [entry(0, goal(Goal::Run)), entry(1, goal(Goal::Stop))];
    assert!(refused(&other).contains("the intent to create comes second"));
    assert!(refused(&[entry(3, goal(Goal::Run))]).contains("record 0 is missing"));
}

#[test]
fn another_ones_record_is_refused() {
    let story = Story::new(NetworkMode::Cni, 1);
    let mut strange = story.then(goal(Goal::Stop)).entries;
    strange[2].pod = pod_id(9);
    assert!(refused(&strange).contains(&pod_id(9).to_string()));
}

#[test]
fn records_that_contradict_are_refused_and_change_nothing() {
    let done = Record::Done(output(Step::MountNetns, 1));
    let cni = Story::new(NetworkMode::Cni, 2)
        .up_to(Step::ReadyNetwork)
        .begins(Step::ConfigureCni);
    let replanned = cni.clone().begins(Step::ReadyNetwork);
    for (story, record, why) in [
        (
            Story::new(NetworkMode::Cni, 1),
            done,
            "nobody meant to do it",
        ),
        (
            Story::new(NetworkMode::Cni, 1),
            failed(Step::Start, Direction::Up, None),
            "nobody meant to do it",
        ),
        (
            cni,
            Record::Done(output(Step::ConfigureCni, 1)),
            "as many results as attachments",
        ),
        (
            replanned,
            Record::Done(output(Step::ReadyNetwork, 3)),
            "the plan changes while it is in use",
        ),
        (
            Story::new(NetworkMode::Cni, 1),
            Record::Observed(Observation::Exited { code: None }),
            "nothing was started",
        ),
        (
            Story::new(NetworkMode::Cni, 1),
            Record::Observed(Observation::Outlived { goal: Goal::Stop }),
            "nobody asked",
        ),
    ] {
        let before = story.pod();
        let mut after = before.clone();
        let next = story.then(record).entries.pop().unwrap();
        let refused = after.apply(&next).unwrap_err().to_string();
        assert!(refused.contains(why), "{refused}");
        assert_eq!(after, before);
    }
}

#[test]
fn numbers_at_their_end_are_refused_and_never_wrap() {
    let mut pod = Story::new(NetworkMode::Cni, 1).pod();
    pod.next_sequence = u64::MAX;
    let last = Entry {
        sequence: u64::MAX,
        ..entry(0, goal(Goal::Stop))
    };
    assert!(pod.clone().apply(&last).is_err());
    let snapshot = Entry {
        record: Record::Snapshot(Box::new(pod)),
        ..last
    };
    assert!(fold([&snapshot]).is_err());
}

#[test]
fn a_snapshot_of_another_pod_or_of_other_records_is_refused() {
    let pod = Story::new(NetworkMode::Cni, 1).started().pod();
    let taken = |pod: &Pod, sequence| entry(sequence, Record::Snapshot(Box::new(pod.clone())));
    let right = taken(&pod, pod.next_sequence - 1);
    assert_eq!(fold([&right]).as_ref(), Ok(&pod));
    assert!(refused(&[taken(&pod, 3)]).contains("counts other records"));
    let mut other = pod.clone();
    other.id = pod_id(2);
    assert!(refused(&[taken(&other, pod.next_sequence - 1)]).contains("belongs to pod"));
    let mut broken = pod.clone();
    broken.slots[Step::MountNetns.rank()] = Slot::default();
    let broken = taken(&broken, pod.next_sequence - 1);
    assert!(refused(&[broken]).contains("a namespace is recorded only while"));
}

fn rebooted(story: Story, cni_may_be_back: bool) -> Pod {
    let reboot = Observation::Rebooted {
        from: boot(1),
        last_record_ns: 0,
        cni_may_be_back,
    };
    story.observes(reboot).pod()
}

#[test]
fn after_a_reboot_only_what_is_on_disk_is_owed() {
    for story in [
        Story::new(NetworkMode::Cni, 2).started(),
        Story::new(NetworkMode::Cni, 2)
            .up_to(Step::ReadyNetwork)
            .begins(Step::ConfigureCni),
    ] {
        let pod = rebooted(story, false);
        assert_eq!((pod.goal, &pod.cause), (Goal::Stop, &Cause::Reboot));
        for step in Step::ALL {
            let expected = match step {
                Step::ConfigureCni => Status::Maybe,
                _ => Status::Never,
            };
            assert_eq!(pod.status(step), expected, "{step}");
        }
        // The plan is kept; the namespace is not, so CNI_NETNS is empty.
        assert_eq!(pod.plan, planned(2));
        assert_eq!(pod.namespace, None);
        assert_eq!(pod.unreleased(Step::ConfigureCni), [1, 0]);
    }
}

#[test]
fn a_reboot_ends_a_sandbox_and_says_so() {
    let pod = rebooted(Story::new(NetworkMode::Cni, 1).started(), false);
    assert!(pod.exited.is_some());
    assert!(pod.sandbox.is_some(), "what it was is still shown");
    let never = rebooted(
        Story::new(NetworkMode::Cni, 1).up_to(Step::ConfigureCni),
        false,
    );
    assert_eq!(never.exited, None);
}

#[test]
fn a_release_that_may_not_have_been_written_is_owed_again() {
    let stopped = Story::new(NetworkMode::Cni, 2).started().stopped();
    let sure = rebooted(stopped.clone(), false);
    assert_eq!(sure.status(Step::ConfigureCni), Status::Never);
    let unsure = rebooted(stopped, true);
    assert_eq!(unsure.status(Step::ConfigureCni), Status::Maybe);
    assert_eq!(unsure.unreleased(Step::ConfigureCni), [1, 0]);
    // Half released, the other half is owed anyway.
    let half = Story::new(NetworkMode::Cni, 2)
        .started()
        .then(goal(Goal::Stop))
        .then(undone(Step::Start, None))
        .then(undone(Step::ConfigureCni, Some(1)));
    assert_eq!(
        rebooted(half.clone(), false).unreleased(Step::ConfigureCni),
        [0]
    );
    assert_eq!(rebooted(half, true).unreleased(Step::ConfigureCni), [1, 0]);
}

#[test]
fn debts_that_die_with_the_kernel_are_gone_after_a_reboot() {
    let owing = Story::new(NetworkMode::Cni, 1)
        .started()
        .then(goal(Goal::Stop))
        .then(failed(Step::Start, Direction::Down, None));
    assert_eq!(owed(&rebooted(owing.clone(), false)), []);
    let owing = owing.then(undone(Step::Start, None)).then(failed(
        Step::ConfigureCni,
        Direction::Down,
        Some(0),
    ));
    let cni = (Step::ConfigureCni, Some(0));
    assert_eq!(owed(&rebooted(owing, false)), [cni]);
}

#[test]
fn what_is_undone_keeps_when_how_often_and_why_it_failed() {
    let story = Story::new(NetworkMode::Cni, 1)
        .up_to(Step::ConfigureCni)
        .begins(Step::Start)
        .then(failed(Step::Start, Direction::Up, None))
        .then(goal(Goal::Remove))
        .later(5)
        .then(undone(Step::Start, None));
    let pod = story.pod();
    let slot = pod.slot(Step::Start);
    assert_eq!(slot.status, Status::Never);
    assert_eq!(slot.since, Some(pod.last));
    assert_eq!(slot.climbs, 1);
    assert_eq!(slot.failure, Some(error("no")));
    assert_eq!(slot.intent, None);
}

#[test]
fn only_a_del_is_a_release() {
    let stopping = Story::new(NetworkMode::Cni, 1)
        .started()
        .then(goal(Goal::Stop))
        .then(undone(Step::Start, None));
    assert_eq!(stopping.pod().released, None);
    let released = stopping.then(undone(Step::ConfigureCni, Some(0))).pod();
    assert_eq!(released.released, Some(released.last));
}

/// A pod without a namespace of its own is at Created when its sandbox is gone.
#[test]
fn a_restart_of_one_without_a_namespace_ends_with_its_sandbox() {
    let restarting = Story::new(NetworkMode::Host, 0)
        .started()
        .observes(Observation::Restart);
    assert!(restarting.pod().restarting);
    let down = restarting.then(undone(Step::Start, None)).pod();
    assert!(!down.restarting);
    assert_eq!(down.status(Step::Create), Status::Done);
}

#[test]
fn a_debt_waits_from_its_last_failure_on() {
    let owing = Story::new(NetworkMode::Cni, 1)
        .started()
        .then(goal(Goal::Stop))
        .then(failed(Step::Start, Direction::Down, None))
        .then(failed(Step::Start, Direction::Down, None))
        .pod();
    let [debt] = &owing.debts[..] else {
        panic!("one debt: {:?}", owing.debts);
    };
    let later = |seconds| Stamp {
        boottime_ns: debt.last.boottime_ns + seconds * SECOND,
        ..debt.last
    };
    let second = std::time::Duration::from_secs(1);
    assert_eq!(debt.backoff(), 2 * second);
    let pause = |now| owing.pause(Step::Start, &now);
    assert_eq!(pause(debt.last), Some(2 * second));
    assert_eq!(pause(later(1)), Some(second));
    assert_eq!(pause(later(3)), Some(std::time::Duration::ZERO));
    assert_eq!(owing.pause(Step::ConfigureCni, &debt.last), None);
}

/// Two attachments are tried one after the other, each longer than the pause.
#[test]
fn the_pause_of_a_step_begins_with_its_last_try() {
    let owing = Story::new(NetworkMode::Cni, 2)
        .started()
        .then(goal(Goal::Stop))
        .then(undone(Step::Start, None))
        .then(failed(Step::ConfigureCni, Direction::Down, Some(1)))
        .then(failed(Step::ConfigureCni, Direction::Down, Some(0)));
    let mut pod = owing.pod();
    let now = pod.debts[1].last;
    // The first of them failed half a minute ago.
    pod.debts[0].last.boottime_ns -= 30 * SECOND;
    let second = std::time::Duration::from_secs(1);
    assert_eq!(pod.pause(Step::ConfigureCni, &now), Some(second));
}
