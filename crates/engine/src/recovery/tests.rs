use super::*;
use crate::fixture::{Story, at, boot, failed, goal, pod_id, undone};
use crate::pod::Status;
use crate::record::{Cause, Direction};
use crate::step::NetworkMode;

fn host(boot_number: u8, seconds: u64) -> HostFacts {
    HostFacts {
        now: at(boot_number, seconds),
        policy: Policy::default(),
    }
}

fn replay(stories: impl IntoIterator<Item = Story>) -> Replay {
    let pods = stories
        .into_iter()
        .map(|story| (story.pod().id, story.entries));
    Replay {
        pods: pods.collect(),
        ..Replay::default()
    }
}

/// A pod that was removed, as it was buried.
fn grave(story: Story) -> Obituary {
    let story = story
        .then(goal(Goal::Remove))
        .then(undone(Step::Create, None));
    Obituary { pod: story.pod() }
}

fn removed() -> Story {
    Story::new(NetworkMode::Cni, 2).started().stopped()
}

fn verdicts(plan: &RecoveryPlan) -> Vec<Verdict> {
    plan.pods.iter().map(|planned| planned.verdict).collect()
}

#[test]
fn nothing_is_planned_for_an_empty_journal() {
    let plan = recovery_plan(&Replay::default(), &host(1, 1));
    assert!(plan.pods.is_empty() && plan.reboot.is_empty() && plan.quarantined.is_empty());
    assert!(plan.reboot_batches().is_empty());
}

#[test]
fn each_pod_gets_its_verdict() {
    let cni = || Story::new(NetworkMode::Cni, 1);
    for (story, verdict) in [
        (cni().started(), Verdict::Adopt),
        (cni().up_to(Step::MountNetns), Verdict::Resume),
        (cni(), Verdict::Resume),
        (
            cni().up_to(Step::ConfigureCni).begins(Step::Start),
            Verdict::Resume,
        ),
        (cni().started().then(goal(Goal::Stop)), Verdict::Descend),
        (cni().started().stopped(), Verdict::Rest),
        (
            cni().started().stopped().then(goal(Goal::Remove)),
            Verdict::Descend,
        ),
        (
            cni().started().observes(Observation::Exited { code: None }),
            Verdict::Rest,
        ),
        (
            cni()
                .up_to(Step::MountNetns)
                .begins(Step::ReadyNetwork)
                .then(failed(Step::ReadyNetwork, Direction::Up, None)),
            Verdict::Undo,
        ),
    ] {
        let plan = recovery_plan(&replay([story.clone()]), &host(1, 10_000));
        assert_eq!(verdicts(&plan), [verdict], "{:?}", story.pod());
        assert!(plan.reboot.is_empty());
        assert!(matches!(
            plan.pods[0].steps.last(),
            Some(Next::Rest | Next::Forget)
        ));
    }
}

#[test]
fn an_interrupted_start_is_undone_where_the_configuration_says_so() {
    let mut host = host(1, 10_000);
    host.policy.resume = false;
    let story = Story::new(NetworkMode::Cni, 1).up_to(Step::MountNetns);
    let plan = recovery_plan(&replay([story]), &host);
    assert_eq!(verdicts(&plan), [Verdict::Undo]);
    assert_eq!(plan.pods[0].steps[0], Next::TurnDown(Cause::NotResumed));
}

#[test]
fn owners_of_a_network_come_before_their_guests() {
    let owner = pod_id(9);
    let guest = Story::new(NetworkMode::Pod(owner), 0)
        .of(pod_id(1))
        .started();
    let owner = Story::new(NetworkMode::Cni, 1).of(owner).started();
    let plan = recovery_plan(&replay([guest, owner]), &host(1, 10_000));
    let order: Vec<_> = plan.pods.iter().map(|planned| planned.pod.id).collect();
    assert_eq!(order, [pod_id(9), pod_id(1)]);
}

/// Scenarios 40 and 48: one bad pod stays behind, alone.
#[test]
fn scenario_48_what_does_not_fold_is_set_aside_alone() {
    let mut gap = Story::new(NetworkMode::Cni, 1).started().of(pod_id(2));
    gap.entries.remove(3);
    let whole = Story::new(NetworkMode::Cni, 1).started();
    let mut replay = replay([whole]);
    replay.pods.push((pod_id(2), gap.entries));
    replay.pods.push((pod_id(3), Vec::new()));
    replay
        .quarantined
        .push((pod_id(4), "a newer format".to_owned()));
    let plan = recovery_plan(&replay, &host(1, 10_000));
    assert_eq!(verdicts(&plan), [Verdict::Adopt]);
    let aside: Vec<_> = plan.quarantined.iter().map(|(id, _)| *id).collect();
    assert_eq!(aside, [pod_id(4), pod_id(2), pod_id(3)]);
    assert_eq!(
        plan.quarantined[1].1,
        "record 3 is missing: the next one is 4"
    );
}

#[test]
fn a_pod_that_cannot_be_continued_is_set_aside_and_never_wraps() {
    let story = Story::new(NetworkMode::Cni, 1).started();
    let mut pod = story.pod();
    pod.next_sequence = u64::MAX;
    let snapshot = Entry {
        pod: pod.id,
        sequence: u64::MAX - 1,
        stamp: pod.last,
        record: Record::Snapshot(Box::new(pod.clone())),
    };
    let replay = Replay {
        pods: vec![(pod.id, vec![snapshot])],
        obituaries: vec![Obituary {
            pod: Pod {
                id: pod_id(2),
                released: Some(pod.last),
                ..pod
            },
        }],
        quarantined: Vec::new(),
    };
    let plan = recovery_plan(&replay, &host(2, 1));
    assert!(plan.pods.is_empty() && plan.reboot.is_empty());
    assert_eq!(plan.quarantined.len(), 1);
}

/// Scenario 7: what lived until reboot is gone, the address is owed.
#[test]
fn scenario_07_a_reboot_is_recorded_before_anything_else() {
    let story = Story::new(NetworkMode::Cni, 1).started();
    let before = story.pod();
    let plan = recovery_plan(&replay([story]), &host(2, 5));
    let [entry] = &plan.reboot[..] else {
        panic!("one record: {:?}", plan.reboot);
    };
    assert_eq!(entry.sequence, before.next_sequence);
    assert_eq!(entry.stamp, at(2, 5));
    let Record::Observed(Observation::Rebooted {
        from,
        last_record_ns,
        cni_may_be_back,
    }) = &entry.record
    else {
        panic!("a reboot: {entry:?}");
    };
    assert_eq!((*from, *cni_may_be_back), (boot(1), false));
    assert_eq!(*last_record_ns, before.last.boottime_ns);
    let pod = &plan.pods[0].pod;
    assert_eq!((pod.goal, &pod.cause), (Goal::Stop, &Cause::Reboot));
    assert_eq!(
        plan.pods[0].steps,
        [Next::Descend(Step::ConfigureCni), Next::Rest]
    );
}

#[test]
fn a_restart_in_the_same_boot_is_no_reboot() {
    let plan = recovery_plan(&replay([removed()]), &host(1, 10_000));
    assert!(plan.reboot.is_empty());
}

/// Scenario 56, for a pod that is still there.
#[test]
fn scenario_56_a_late_release_is_done_again_after_a_reboot() {
    let late = removed();
    let early = removed().of(pod_id(2)).later(121).then(goal(Goal::Stop));
    for (stories, owed_again) in [
        (vec![late.clone()], true),
        // Another pod's record shows that the old boot lasted longer.
        (vec![late, early], false),
    ] {
        let plan = recovery_plan(&replay(stories), &host(2, 5));
        let pods = plan.pods.iter().map(|planned| &planned.pod);
        let first = pods.clone().find(|pod| pod.id == pod_id(1)).unwrap();
        let owes = first.status(Step::ConfigureCni) == Status::Maybe;
        assert_eq!(owes, owed_again);
    }
}

/// Scenario 56, for a pod that was removed.
#[test]
fn scenario_56_a_pod_that_is_gone_comes_back_for_its_release() {
    let buried = grave(removed());
    let replay = Replay {
        obituaries: vec![buried.clone()],
        ..Replay::default()
    };
    let plan = recovery_plan(&replay, &host(2, 5));
    let [planned] = &plan.pods[..] else {
        panic!("it is back: {plan:?}");
    };
    assert_eq!(planned.verdict, Verdict::Descend);
    assert_eq!(
        planned.steps,
        [Next::Descend(Step::ConfigureCni), Next::Forget]
    );
    // Its Remove was answered: it is in no list but the ledger.
    assert_eq!(planned.pod.outlived, Some(Goal::Remove));
    // What is written for it makes the same pod again.
    assert_eq!(plan.reboot.len(), 2);
    assert_eq!(fold(&plan.reboot).as_ref(), Ok(&planned.pod));
    let buried: Vec<Obituary> = plan.still_buried(replay.obituaries);
    assert!(buried.is_empty(), "it is alive: {buried:?}");
}

#[test]
fn nobody_comes_back_in_the_same_boot_or_long_after_its_release() {
    let obituaries = vec![grave(removed())];
    let same_boot = Replay {
        obituaries: obituaries.clone(),
        ..Replay::default()
    };
    assert!(recovery_plan(&same_boot, &host(1, 10_000)).pods.is_empty());
    let mut longer = replay([Story::new(NetworkMode::Cni, 1)
        .of(pod_id(2))
        .later(500)
        .started()]);
    longer.obituaries = obituaries;
    let plan = recovery_plan(&longer, &host(2, 5));
    assert_eq!(plan.pods.len(), 1, "{:?}", plan.pods);
}

#[test]
fn a_pod_without_attachments_has_nothing_on_disk_and_stays_buried() {
    let replay = Replay {
        obituaries: vec![grave(Story::new(NetworkMode::None, 0).started().stopped())],
        ..Replay::default()
    };
    assert!(recovery_plan(&replay, &host(2, 5)).pods.is_empty());
}

/// Only a pod whose goal was Remove is ever buried; another's obituary is not
/// one of ours.
#[test]
fn an_obituary_that_is_no_pod_stays_buried() {
    let mut grave = grave(removed());
    grave.pod.goal = Goal::Stop;
    let replay = Replay {
        obituaries: vec![grave],
        ..Replay::default()
    };
    let plan = recovery_plan(&replay, &host(2, 5));
    assert!(plan.pods.is_empty(), "{:?}", plan.pods);
    assert!(plan.reboot.is_empty(), "{:?}", plan.reboot);
}

/// A second reboot before the first one's records are all on the platter: some
/// pods have them, and those of the older boot are due all the same.
#[test]
fn a_second_reboot_amid_the_records_of_the_first_forgets_nobody() {
    let first = recovery_plan(&replay([removed().of(pod_id(2))]), &host(2, 5));
    let mut entries = removed().of(pod_id(2)).entries;
    entries.extend(first.reboot);
    let replay = Replay {
        pods: vec![(pod_id(2), entries)],
        obituaries: vec![grave(removed())],
        quarantined: Vec::new(),
    };
    let plan = recovery_plan(&replay, &host(3, 5));
    let owing = plan
        .pods
        .iter()
        .filter(|planned| planned.pod.status(Step::ConfigureCni) == Status::Maybe);
    assert_eq!(owing.count(), 2, "{:?}", plan.pods);
}

/// The wall clock says nothing about which boot came first.
#[test]
fn a_wall_clock_that_was_set_back_hides_no_release() {
    let mut ahead = Story::new(NetworkMode::Cni, 1).of(pod_id(2)).started();
    for entry in &mut ahead.entries {
        entry.stamp.boot = boot(7);
        entry.stamp.wall_ns = 1 << 62;
    }
    let mut replay = replay([ahead]);
    replay.obituaries = vec![grave(removed())];
    let plan = recovery_plan(&replay, &host(2, 5));
    assert_eq!(plan.pods.len(), 2);
}

#[test]
fn the_records_of_a_reboot_go_in_batches_that_part_no_pod() {
    let id = |number: u16| {
        let [high, low] = number.to_be_bytes();
        PodId([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, high, low, 1, 2, 3, 4])
    };
    let stories = (0..100).map(|number| Story::new(NetworkMode::Cni, 1).of(id(number)).started());
    let mut replay = replay(stories);
    replay.obituaries = (100..150)
        .map(|number| {
            let mut grave = grave(removed());
            grave.pod.id = id(number);
            grave
        })
        .collect();
    let plan = recovery_plan(&replay, &host(2, 5));
    let batches = plan.reboot_batches();
    assert_eq!(batches.concat().len(), 100 + 2 * 50);
    let mut whose = BTreeMap::new();
    for (number, batch) in batches.iter().enumerate() {
        let pods: BTreeSet<_> = batch.iter().map(|entry| entry.pod).collect();
        assert!(pods.len() <= BATCH);
        for pod in pods {
            assert_eq!(whose.insert(pod, number), None, "{pod} is in two batches");
        }
    }
}

#[test]
fn recovery_is_a_value_and_planning_it_twice_gives_the_same() {
    let stories = [
        Story::new(NetworkMode::Cni, 2).started(),
        removed().of(pod_id(2)),
        Story::new(NetworkMode::Host, 0).of(pod_id(3)),
    ];
    let mut replay = replay(stories);
    replay.obituaries = vec![grave(removed().of(pod_id(4)))];
    let told = |plan: &RecoveryPlan| format!("{plan:?}");
    let first = recovery_plan(&replay, &host(2, 5));
    assert_eq!(told(&recovery_plan(&replay, &host(2, 5))), told(&first));
}
