//! Attachments that come when the sandbox runs.

use super::*;

fn contradiction(story: &Story) -> String {
    fold(&story.entries).unwrap_err().to_string()
}

#[test]
fn a_pod_with_late_attachments_is_started_after_them() {
    let with_sandbox = Story::with_late(2).up_to(Step::Start).pod();
    assert_eq!(with_sandbox.state(), State::CniConfigured);
    assert!(with_sandbox.has_sandbox() && !with_sandbox.is_started() && !with_sandbox.is_ready());
    let pod = Story::with_late(2).started().pod();
    assert_eq!((pod.state(), pod.is_ready()), (State::Started, true));
    let answered: Vec<_> = pod
        .attachments
        .iter()
        .map(|one| one.result.clone())
        .collect();
    let [first, second] = [results(1), results(2)].map(|all| all.into_iter().map(Some));
    assert_eq!(answered, first.chain(second).collect::<Vec<_>>());
    assert_eq!(pod.unreleased(Step::AttachLate), [2, 1]);
    assert_eq!(pod.unreleased(Step::ConfigureCni), [0]);
}

#[test]
fn each_step_lets_go_of_its_own_attachments() {
    let story = Story::with_late(1)
        .started()
        .then(goal(Goal::Stop))
        .then(undone(Step::AttachLate, Some(1)));
    assert_eq!(story.pod().unreleased(Step::AttachLate), [0_u32; 0]);
    let story = story.then(undone(Step::AttachLate, None));
    assert_eq!(story.pod().unreleased(Step::ConfigureCni), [0]);
    assert!(story.pod().attachments[0].result.is_some());
    assert_eq!(story.pod().attachments[1].result, None);
    assert!(
        Story::with_late(1)
            .started()
            .stopped()
            .pod()
            .attachments
            .is_empty()
    );
}

#[test]
fn a_plan_that_is_out_of_order_is_refused() {
    for late in [[true, false], [true, true]] {
        let mut plan = planned(2);
        for (planned, late) in plan.iter_mut().zip(late) {
            planned.late = late;
        }
        let output = crate::record::ReadyNetworkOutput { plan };
        let story = Story::new(NetworkMode::Cni, 2)
            .up_to(Step::MountNetns)
            .begins(Step::ReadyNetwork)
            .then(Record::Done(crate::record::Output::ReadyNetwork(output)));
        assert!(
            contradiction(&story).contains("the default network"),
            "{late:?}"
        );
    }
}

#[test]
fn as_many_results_as_late_attachments() {
    let attaching = Story::with_late(2)
        .up_to(Step::Start)
        .begins(Step::AttachLate);
    for count in [0, 1, 3] {
        let story = attaching
            .clone()
            .then(Record::Done(output_late(Step::AttachLate, 3, count)));
        assert!(contradiction(&story).contains("as many results"), "{count}");
    }
}

#[test]
fn nothing_is_attached_late_to_a_sandbox_that_has_exited() {
    let story = Story::with_late(1)
        .up_to(Step::Start)
        .begins(Step::AttachLate)
        .observes(Observation::Exited { code: None });
    assert!(!story.pod().is_started());
    assert!(contradiction(&story.ends(Step::AttachLate)).contains("had exited"));
}

/// Rule 8.
#[test]
fn a_restart_trusts_no_late_attachment_either() {
    let story = Story::with_late(1).started().observes(Observation::Restart);
    assert_eq!(story.pod().status(Step::AttachLate), Status::Maybe);
    assert!(!story.down().pod().restarting);
}

/// What was released late in the old boot may be back, whosever it is; a step
/// that was never begun has left nothing.
#[test]
fn a_power_loss_brings_back_what_each_step_may_have_left() {
    let rebooted = |story: Story| {
        story.observes(Observation::Rebooted {
            from: boot(1),
            last_record_ns: 0,
            cni_may_be_back: true,
        })
    };
    let stopped = rebooted(Story::with_late(1).started().stopped()).pod();
    assert_eq!(stopped.status(Step::AttachLate), Status::Maybe);
    assert_eq!(stopped.status(Step::ConfigureCni), Status::Maybe);
    assert_eq!(stopped.unreleased(Step::AttachLate), [1]);
    assert_eq!(stopped.count_owed(), 2);
    let never = Story::with_late(1)
        .up_to(Step::Start)
        .then(goal(Goal::Stop));
    let never = rebooted(never.then(undone(Step::Start, None)));
    assert_eq!(never.pod().status(Step::AttachLate), Status::Never);
    assert_eq!(never.pod().count_owed(), 1);
}

/// Rule 7: what is forgiven never leaves a sandbox behind.
#[test]
fn a_late_debt_is_forgiven_only_without_its_sandbox() {
    let forgiven = Observation::Forgiven {
        step: Step::AttachLate,
        attachment: Some(1),
        reason: "the device is gone".to_owned(),
    };
    let owing = Story::with_late(1)
        .started()
        .then(goal(Goal::Stop))
        .then(failed(Step::AttachLate, Direction::Down, Some(1)));
    let beside = owing.clone().observes(forgiven.clone()).pod();
    assert_eq!(owed(&beside), [(Step::AttachLate, Some(1))]);
    let alone = owing.then(undone(Step::Start, None)).observes(forgiven);
    assert_eq!(owed(&alone.pod()), []);
}
