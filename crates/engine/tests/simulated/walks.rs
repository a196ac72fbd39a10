//! Up, down and off the line, in every mode.

use podwalk_engine::decide::Policy;
use podwalk_engine::engine::EngineErrorKind;
use podwalk_engine::pod::Status;
use podwalk_engine::record::{Goal, Record};
use podwalk_engine::step::{NetworkMode, State, Step};
use podwalk_testkit::sim::{Fault, Mishap, Site, Thing};

use super::*;

fn modes() -> [(NetworkMode, u32); 4] {
    [
        (NetworkMode::Cni, 1),
        (NetworkMode::Cni, 3),
        (NetworkMode::None, 1),
        (NetworkMode::Host, 1),
    ]
}

fn with(attachments: u32) -> Setup {
    Setup {
        attachments,
        ..Setup::default()
    }
}

#[test]
fn a_pod_goes_up_down_and_off_the_line_in_every_mode() {
    for (mode, attachments) in modes() {
        let (node, engine) = running(with(attachments));
        let mut spec = pod_spec("web");
        spec.network = mode.clone();
        start(&node, &engine, pod_id(1), spec).unwrap();
        let up = view(&engine, pod_id(1));
        assert!(up.ready && up.pod.state() == State::Started, "{mode}");
        assert_eq!(up.pod.sandbox_key.is_some(), mode.has_own_namespace());
        assert_eq!(
            node.host.of(pod_id(1)),
            oracle::of_a_running_pod(&mode, attachments)
        );
        nothing_wrong(&node, &engine);

        assert_eq!(stop(&node, &engine, pod_id(1)), Ok(()));
        assert_eq!(stop(&node, &engine, pod_id(1)), Ok(()), "twice is once");
        let down = view(&engine, pod_id(1));
        assert!(!down.ready && down.pod.goal == Goal::Stop && down.pod.is_down());
        let file: &[Thing] = match mode.has_own_namespace() {
            true => &[Thing::File],
            false => &[],
        };
        assert_eq!(node.host.of(pod_id(1)), file, "{mode}");
        nothing_wrong(&node, &engine);

        assert_eq!(remove(&node, &engine, pod_id(1)), Ok(()));
        nothing_left(&node, &engine);
        assert_eq!(engine.graves().len(), 1);
    }
}

#[test]
fn a_pod_that_nobody_knows_is_neither_stopped_nor_removed() {
    let (node, engine) = running(Setup::default());
    let unknown = Err(EngineError::NoSuchPod { id: pod_id(7) });
    assert_eq!(stop(&node, &engine, pod_id(7)), unknown);
    assert_eq!(remove(&node, &engine, pod_id(7)), unknown);
}

#[test]
fn remove_without_stop_undoes_everything_in_order() {
    let (node, engine) = running(Setup::default());
    start_web(&node, &engine);
    assert_eq!(remove(&node, &engine, pod_id(1)), Ok(()));
    nothing_left(&node, &engine);
}

/// Rule 1: two barriers for a start, one before ADD and one before the answer.
#[test]
fn a_start_needs_two_barriers_and_every_answer_one() {
    for (mode, attachments) in modes() {
        let (node, engine) = running(with(attachments));
        let mut spec = pod_spec("web");
        spec.network = mode.clone();
        let expected = match mode {
            NetworkMode::Cni => 2,
            _ => 1,
        };
        start(&node, &engine, pod_id(1), spec).unwrap();
        assert_eq!(node.journal.barriers(), expected, "{mode} up");
        assert_eq!(node.journal.unsynced(), 0);
        stop(&node, &engine, pod_id(1)).unwrap();
        assert_eq!(node.journal.barriers(), expected + 1, "{mode} down");
        assert_eq!(node.journal.unsynced(), 0);
        remove(&node, &engine, pod_id(1)).unwrap();
        assert_eq!(node.journal.barriers(), expected + 2, "{mode} gone");
        assert_eq!(node.journal.unsynced(), 0);
    }
}

/// Rule 2: the end of a step and the next intent go in one batch.
#[test]
fn a_start_appends_once_per_step() {
    let (node, engine) = running(Setup::default());
    start_web(&node, &engine);
    let steps = NetworkMode::Cni.ladder().len();
    assert_eq!(node.journal.len(), 1 + steps);
    let (_, entries) = &node.journal.contents().pods[0];
    assert_eq!(entries.len(), 1 + 2 * steps, "goal, intents and ends");
}

/// Scenario 41: neither an error with a pod, nor a pod without an answer.
#[test]
fn a_step_that_fails_is_undone_and_so_is_what_was_before_it() {
    for step in NetworkMode::Cni.ladder() {
        for mishap in [
            Mishap::Fail { after: 0 },
            Mishap::Fail { after: 1 },
            Mishap::Fail { after: 9 },
            Mishap::LoseAnswer,
            Mishap::Hang { after: 1 },
        ] {
            let (node, engine) = running(with(2));
            node.faults.add(Fault::once(*step, Site::Apply, mishap));
            let error = start(&node, &engine, pod_id(1), pod_spec("web")).unwrap_err();
            let EngineError::StartFailed {
                step: failed,
                afterwards,
                ..
            } = &error
            else {
                panic!("{step} {mishap:?}: {error}");
            };
            assert_eq!((*failed, afterwards.len()), (*step, 0));
            node.host.let_strays_finish();
            nothing_left(&node, &engine);
        }
    }
}

/// Scenario 14: at the deadline the effect is killed, and its kind is told.
#[test]
fn scenario_14_an_effect_that_hangs_ends_at_its_deadline_as_unknown() {
    let (node, engine) = running(Setup::default());
    let hang = Mishap::Hang { after: 1 };
    node.faults
        .add(Fault::once(Step::ConfigureCni, Site::Apply, hang));
    let error = start(&node, &engine, pod_id(1), pod_spec("web")).unwrap_err();
    assert_eq!(error.kind(), EngineErrorKind::Timeout);
    assert!(error.to_string().contains("30 s"), "{error}");
    assert_eq!(node.host.strays(), 0, "it was killed before its undo");
}

#[test]
fn an_answer_that_does_not_fit_the_pod_is_a_failed_step() {
    let (node, engine) = running(with(2));
    let nonsense = Fault::once(Step::ConfigureCni, Site::Apply, Mishap::Nonsense);
    node.faults.add(nonsense);
    let error = start(&node, &engine, pod_id(1), pod_spec("web")).unwrap_err();
    assert!(
        error.to_string().contains("as many results as attachments"),
        "{error}"
    );
    nothing_left(&node, &engine);
}

#[test]
fn a_failed_start_leaves_the_name_free_at_once() {
    let (node, engine) = running(Setup::default());
    let fail = Fault::once(Step::Start, Site::Apply, Mishap::Fail { after: 0 });
    node.faults.add(fail);
    start(&node, &engine, pod_id(1), pod_spec("web")).unwrap_err();
    let again = start(&node, &engine, pod_id(2), pod_spec("web")).unwrap();
    assert_eq!((again.id, again.joined), (pod_id(2), false));
}

#[test]
fn a_sandbox_that_exits_is_noted_once_and_keeps_its_network() {
    let (node, engine) = running(Setup::default());
    start_web(&node, &engine);
    let process = node.host.process(pod_id(1)).unwrap();
    let mut other = process;
    other.start_time += 1;
    let note = |process, code| {
        let engine = engine.clone();
        node.run(async move { engine.note_exit(pod_id(1), process, code).await })
            .answer();
    };
    note(other, Some(1));
    assert!(view(&engine, pod_id(1)).ready, "another process is no news");
    node.host.let_sandbox_die(pod_id(1));
    note(process, Some(137));
    note(process, None);
    let pod = view(&engine, pod_id(1)).pod;
    assert_eq!(pod.exited.map(|exit| exit.code), Some(Some(137)));
    assert_eq!(pod.status(Step::ConfigureCni), Status::Done);
    assert!(node.host.has(pod_id(1), Thing::Address(0)));
    assert!(is_listed(&engine, pod_id(1)));
    nothing_wrong(&node, &engine);
    // A dead sandbox holds no name.
    let next = start(&node, &engine, pod_id(2), pod_spec("web")).unwrap();
    assert_eq!(next.id, pod_id(2));
}

/// An exit can be heard of before the start is recorded.
#[test]
fn a_sandbox_that_exits_before_its_start_is_recorded_is_not_ready() {
    let (node, engine) = running(Setup::default());
    node.arm(None);
    let there = node.points.at_next("Start.Apply.2");
    let noting = engine.clone();
    let host = node.host.clone();
    let noted = node.ask(async move {
        there.await.expect("the sandbox is there");
        let process = host.process(pod_id(1)).expect("it runs");
        noting.note_exit(pod_id(1), process, Some(1)).await;
    });
    let _ = ask_start(&node, &engine, pod_id(1), pod_spec("web"));
    node.wait_for(&noted).answer();
    node.host.let_sandbox_die(pod_id(1));
    let pod = view(&engine, pod_id(1)).pod;
    assert_eq!(pod.exited.map(|exit| exit.code), Some(Some(1)));
    nothing_wrong(&node, &engine);
}

/// A pod that owes for ever does not fill the journal.
#[test]
fn what_has_become_long_is_folded_into_a_snapshot() {
    let (node, engine) = running(Setup::default());
    start_web(&node, &engine);
    let fail = Mishap::Fail { after: 0 };
    node.faults
        .add(Fault::for_ever(Step::ConfigureCni, Site::Undo, fail));
    stop(&node, &engine, pod_id(1)).unwrap_err();
    let mut longest = 0;
    for turn in 0..500 {
        node.pass(std::time::Duration::from_secs(61));
        if (200..300).contains(&turn) {
            longest = longest.max(node.journal.contents().pods[0].1.len());
        }
    }
    assert!(longest > 60, "a snapshot for only {longest} records");
    let debt = view(&engine, pod_id(1)).pod.debts[0].clone();
    assert!(debt.attempts > 400, "{debt:?}");
    let (_, entries) = &node.journal.contents().pods[0];
    assert!(entries.len() <= 80, "{} entries", entries.len());
    assert!(matches!(entries[0].record, Record::Snapshot(_)));
    node.crash(podwalk_testkit::sim::Crash::Kill { strays: false });
    node.faults.mend();
    let (engine, report) = node.boot().answer();
    assert_eq!(report.owing, [pod_id(1)], "it waits its turn");
    assert_eq!(stop(&node, &engine, pod_id(1)), Ok(()));
    nothing_wrong(&node, &engine);
}

#[test]
fn a_policy_without_attempts_starts_nothing() {
    let (node, engine) = running(Setup {
        policy: Policy {
            attempts: 0,
            ..Policy::default()
        },
        ..Setup::default()
    });
    // The first intent is written with the goal; the next step has no attempt.
    let error = start(&node, &engine, pod_id(1), pod_spec("web")).unwrap_err();
    assert!(matches!(
        error,
        EngineError::StartFailed {
            step: Step::MountNetns,
            ..
        }
    ));
    nothing_left(&node, &engine);
}

#[test]
fn pods_are_found_by_id_prefix_or_name() {
    let (node, engine) = running(Setup::default());
    start_web(&node, &engine);
    start(&node, &engine, pod_id(0x1000_0000), pod_spec("db")).unwrap();
    let found = |text: &str| -> Vec<PodId> {
        let views = engine.find(text);
        views.iter().map(|view| view.pod.id).collect()
    };
    let (web, db) = (pod_id(1), pod_id(0x1000_0000));
    assert_eq!(found(&web.to_string()), [web]);
    assert_eq!(found("db"), [db]);
    assert_eq!(found(&db.to_string()[..17]), [db]);
    assert_eq!(found("00"), [web, db]);
    for nobody in ["", "ff", "nobody"] {
        assert_eq!(found(nobody), [], "{nobody}");
    }
}

/// The records of a pod are those in the journal, and the last thousand pods that are gone are known.
#[test]
fn what_was_is_told_while_it_is_known() {
    let (node, engine) = running(Setup::default());
    start_web(&node, &engine);
    let asked = engine.clone();
    let records = node.run(async move { asked.records(pod_id(1)).await });
    let (_, kept) = node.journal.contents().pods.remove(0);
    assert_eq!(records.answer().unwrap(), kept);
    remove(&node, &engine, pod_id(1)).unwrap();
    for number in 2..=1_001 {
        // So many points are no endless walk.
        node.arm(None);
        start(&node, &engine, pod_id(number), pod_spec("web")).unwrap();
        remove(&node, &engine, pod_id(number)).unwrap();
    }
    let graves = engine.graves();
    assert_eq!(graves.len(), 1_000);
    assert_eq!(graves[0].pod.id, pod_id(2), "the oldest is forgotten");
}
