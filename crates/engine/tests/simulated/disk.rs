//! A journal without space, and one whose sync has failed.

use podwalk_engine::engine::EngineErrorKind;
use podwalk_engine::ports::JournalError;
use podwalk_testkit::sim::{Crash, Refusal};

use super::*;

fn full() -> JournalError {
    JournalError::Full {
        detail: "no space left on device".to_owned(),
    }
}

fn poisoned() -> JournalError {
    JournalError::Poisoned {
        detail: "fdatasync: input/output error".to_owned(),
    }
}

fn refusal(after: u64, times: Option<u64>, error: JournalError) -> Option<Refusal> {
    Some(Refusal {
        after,
        times,
        error,
    })
}

/// How many operations a start, a stop and a remove need.
fn operations() -> u64 {
    let (node, engine) = running(Setup::default());
    start_web(&node, &engine);
    stop(&node, &engine, pod_id(1)).unwrap();
    remove(&node, &engine, pod_id(1)).unwrap();
    node.journal.len() as u64
}

/// Starts, stops and removes, whatever comes of it.
fn up_and_down(node: &Node, engine: &Engine) -> Vec<EngineError> {
    let mut errors = Vec::new();
    errors.extend(start(node, engine, pod_id(1), pod_spec("web")).err());
    errors.extend(stop(node, engine, pod_id(1)).err());
    errors.extend(remove(node, engine, pod_id(1)).err());
    errors
}

/// Scenario 27, at every append: who waits hears it, nothing is begun that
/// could not be recorded, and with space the walk goes on.
#[test]
fn scenario_27_a_full_disk_at_every_append_loses_and_leaks_nothing() {
    let mut told = 0;
    for after in 0..operations() {
        for times in [1, 3] {
            let (node, engine) = running(Setup::default());
            node.journal.refuse(refusal(after, Some(times), full()));
            let errors = up_and_down(&node, &engine);
            for error in &errors {
                let known = [EngineErrorKind::Environment, EngineErrorKind::NotFound];
                assert!(known.contains(&error.kind()), "after {after}: {error}");
            }
            told += errors.len();
            // There is space again: it goes on by itself, and then on request.
            node.journal.refuse(None);
            let _ = node.until(|| false);
            nothing_wrong(&node, &engine);
            for view in engine.list() {
                remove(&node, &engine, view.pod.id).unwrap();
            }
            nothing_left(&node, &engine);
        }
    }
    assert!(told > 0, "nobody heard of it");
}

/// The same with a crash while the disk is full.
#[test]
fn scenario_27_a_crash_on_a_full_disk_is_recovered_with_space() {
    for after in 0..operations() {
        let (node, engine) = running(Setup::default());
        node.journal.refuse(refusal(after, None, full()));
        let asked = engine.clone();
        let _ = node.ask(async move {
            let _ = asked.start(pod_id(1), pod_spec("web")).await;
            let _ = asked.stop(pod_id(1)).await;
            let _ = asked.remove(pod_id(1)).await;
        });
        node.pass(std::time::Duration::from_secs(10));
        node.crash(Crash::Kill { strays: true });
        node.journal.refuse(None);
        let (engine, _) = node.boot().answer();
        node.host.let_strays_finish();
        nothing_wrong(&node, &engine);
    }
}

/// Scenario 27: an exit is told once, and a full disk must not swallow it.
#[test]
fn scenario_27_an_exit_on_a_full_disk_is_recorded_with_space() {
    for late in [0, 1] {
        let (node, engine) = running(Setup {
            attachments: 2,
            late,
            ..Setup::default()
        });
        start_web(&node, &engine);
        let process = node.host.process(pod_id(1)).unwrap();
        node.journal.refuse(refusal(0, None, full()));
        node.host.let_sandbox_die(pod_id(1));
        let noting = engine.clone();
        let noted = node.ask(async move { noting.note_exit(pod_id(1), process, Some(137)).await });
        node.pass(std::time::Duration::from_secs(10));
        assert!(view(&engine, pod_id(1)).pod.exited.is_none());
        node.journal.refuse(None);
        node.wait_for(&noted).answer();
        let pod = view(&engine, pod_id(1)).pod;
        assert_eq!(pod.exited.map(|exit| exit.code), Some(Some(137)));
        nothing_wrong(&node, &engine);
    }
}

/// An end that no record can hold: the step has failed, and is undone.
#[test]
fn an_answer_too_large_for_a_record_is_a_failed_step() {
    let large = JournalError::TooLarge {
        bytes: 500_000,
        limit: 393_216,
    };
    // The birth first, then the end of each step.
    for after in 1..=5 {
        let (node, engine) = running(Setup::default());
        node.journal.refuse(refusal(after, Some(1), large.clone()));
        let error = start(&node, &engine, pod_id(1), pod_spec("web")).unwrap_err();
        assert!(matches!(&error, EngineError::StartFailed { .. }), "{error}");
        assert!(error.to_string().contains("500000 bytes"), "{error}");
        nothing_left(&node, &engine);
    }
}

#[test]
fn a_full_disk_refuses_new_pods_before_anything_is_done() {
    let (node, engine) = running(Setup::default());
    node.journal.refuse(refusal(0, None, full()));
    let error = start(&node, &engine, pod_id(1), pod_spec("web")).unwrap_err();
    assert_eq!(error, EngineError::Journal(full()));
    assert!(error.to_string().contains("free space there"), "{error}");
    nothing_left(&node, &engine);
    node.journal.refuse(None);
    start_web(&node, &engine);
}

/// After a failed sync nothing is begun, whoever asks; pods run on.
#[test]
fn a_poisoned_journal_ends_all_work_and_no_pod() {
    for after in 0..operations() {
        let (node, engine) = running(Setup::default());
        node.journal.refuse(refusal(after, None, poisoned()));
        let errors = up_and_down(&node, &engine);
        for error in &errors {
            let known = [EngineErrorKind::Environment, EngineErrorKind::NotFound];
            assert!(known.contains(&error.kind()), "after {after}: {error}");
        }
        // Every further request is answered, and does nothing to the host.
        let (things, points) = (node.host.things(), node.points.passed());
        let errors = up_and_down(&node, &engine);
        assert!(!errors.is_empty(), "after {after}");
        assert_eq!(node.host.things(), things, "after {after}");
        let tried = node.points.passed() - points;
        assert!(
            tried <= 2,
            "after {after}: more than goals was tried: {tried}"
        );

        node.crash(Crash::Kill { strays: true });
        node.journal.refuse(None);
        let (engine, _) = node.boot().answer();
        node.host.let_strays_finish();
        nothing_wrong(&node, &engine);
        for view in engine.list() {
            remove(&node, &engine, view.pod.id).unwrap();
        }
        nothing_left(&node, &engine);
    }
}

/// A step whose end is larger than a record may be has failed: done once more
/// it would be as large, and who asked must not hear an error of a pod that
/// then runs.
#[test]
fn an_end_that_is_too_large_to_be_recorded_is_a_failed_step() {
    let (node, engine) = running(Setup::default());
    start_web(&node, &engine);
    for after in 0..node.journal.len() as u64 {
        let (node, engine) = running(Setup::default());
        let large = JournalError::TooLarge { bytes: 2, limit: 1 };
        node.journal.refuse(refusal(after, Some(1), large));
        let error = start(&node, &engine, pod_id(1), pod_spec("web")).unwrap_err();
        assert!(
            error.to_string().contains("larger"),
            "after {after}: {error}"
        );
        let failed = matches!(error, EngineError::StartFailed { .. });
        assert_eq!(failed, after > 0, "after {after}: {error}");
        nothing_left(&node, &engine);
    }
}

#[test]
fn the_engine_says_whether_it_takes_in_new_pods() {
    let (node, engine) = running(Setup::default());
    assert_eq!(engine.admits(), Ok(()));
    node.journal.refuse(refusal(0, None, full()));
    assert_eq!(engine.admits(), Err(full()));
    node.journal.refuse(None);
    assert_eq!(engine.admits(), Ok(()));
}

/// Whoever waits for a goal that is recorded does not hear that a higher one could not be.
#[test]
fn a_goal_that_is_not_recorded_is_told_to_who_asked_for_it_alone() {
    let (node, engine) = running(Setup::default());
    start_web(&node, &engine);
    node.arm(None);
    let now = node.points.at_next("Start.Undo.before");
    let (stopping, removing) = (engine.clone(), engine.clone());
    let stop = node.ask(async move { stopping.stop(pod_id(1)).await });
    let journal = node.journal.clone();
    let remove = node.ask(async move {
        now.await.expect("the moment comes");
        journal.refuse(refusal(0, Some(1), full()));
        removing.remove(pod_id(1)).await
    });
    let refused = node.wait_for(&remove).answer();
    assert_eq!(refused, Err(EngineError::Journal(full())));
    assert_eq!(node.wait_for(&stop).answer(), Ok(()));
    nothing_wrong(&node, &engine);
}
