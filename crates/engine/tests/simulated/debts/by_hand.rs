//! What an operator does about a debt: it is paid at once, or written off. And
//! what the engine does by itself about a sandbox that it cannot look at.

use super::*;

/// A DEL that fails for ever; the rest of ConfigureCni can be undone.
fn broken_del(attachment: u32) -> Fault {
    broken(Step::ConfigureCni, Site::Undo).of_attachment(attachment)
}

fn ask_to_pay(node: &Node, engine: &Engine) -> Asked<Result<(), EngineError>> {
    let engine = engine.clone();
    node.ask(async move { engine.pay(pod_id(1)).await })
}

#[track_caller]
fn pay(node: &Node, engine: &Engine) -> Result<(), EngineError> {
    let asked = ask_to_pay(node, engine);
    node.wait_for(&asked).answer()
}

fn ask_to_forgive_all(node: &Node, engine: &Engine) -> Asked<Result<Vec<String>, EngineError>> {
    let engine = engine.clone();
    node.ask(async move {
        let reason = "the controller is gone for good".to_owned();
        let forgiven = engine.forgive_all(pod_id(1), reason).await?;
        Ok(forgiven.iter().map(ToString::to_string).collect())
    })
}

fn forgive_all(node: &Node, engine: &Engine) -> Result<Vec<String>, EngineError> {
    let asked = ask_to_forgive_all(node, engine);
    node.wait_for(&asked).answer()
}

/// A machine with a pod that was to be removed, and owes because of these.
fn owing(setup: Setup, faults: impl IntoIterator<Item = Fault>) -> (Node, Engine) {
    let (node, engine) = running(setup);
    start_web(&node, &engine);
    for fault in faults {
        node.faults.add(fault);
    }
    owes(remove(&node, &engine, pod_id(1)));
    (node, engine)
}

/// At once, whatever the pause; and with the last try's error.
#[test]
fn a_debt_that_is_paid_by_hand_is_tried_at_once() {
    for step in [
        Step::Create,
        Step::MountNetns,
        Step::ConfigureCni,
        Step::Start,
    ] {
        let (node, engine) = owing(Setup::default(), [broken(step, Site::Undo)]);
        node.pass(10 * MINUTE);
        let (before, begun) = (attempts(&engine), engine.now());
        let error = pay(&node, &engine).unwrap_err();
        let EngineError::Owes { debts, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(debts[0].debt.step, step);
        assert_eq!(attempts(&engine), before + 1, "one try, {step}");
        assert_eq!(engine.now().since(&begun), Duration::ZERO, "at once");
        node.faults.mend();
        assert_eq!(pay(&node, &engine), Ok(()), "{step}");
        assert_eq!(engine.now().since(&begun), Duration::ZERO, "at once");
        nothing_left(&node, &engine);
        let gone = Err(EngineError::NoSuchPod { id: pod_id(1) });
        assert_eq!(pay(&node, &engine), gone);
    }
}

/// Outlived or not, by its removal or by its stop: it is paid by hand.
#[test]
fn what_was_outlived_is_paid_by_hand_too() {
    let (node, engine) = running(Setup::default());
    start_web(&node, &engine);
    node.faults.add(broken(Step::ConfigureCni, Site::Undo));
    owes(stop(&node, &engine, pod_id(1)));
    node.pass(2 * MINUTE);
    assert_eq!(stop(&node, &engine, pod_id(1)), Ok(()));
    owes(pay(&node, &engine));
    node.faults.mend();
    assert_eq!(pay(&node, &engine), Ok(()));
    assert_eq!(node.host.of(pod_id(1)), [Thing::File]);
    assert_eq!(pay(&node, &engine), Ok(()), "nothing is owed");
    nothing_wrong(&node, &engine);
}

#[test]
fn a_pod_that_owes_nothing_has_paid_and_runs_on() {
    let (node, engine) = running(Setup::default());
    start_web(&node, &engine);
    assert_eq!(pay(&node, &engine), Ok(()));
    assert!(view(&engine, pod_id(1)).ready);
    let error = forgive_all(&node, &engine).unwrap_err();
    assert_eq!(error, EngineError::OwesNothing { id: pod_id(1) });
    assert_eq!(error.kind(), EngineErrorKind::Conflict);
    nothing_wrong(&node, &engine);
}

/// What lies under it fails then: it is told, and paid in its turn.
#[test]
fn a_debt_that_is_paid_uncovers_the_next_one() {
    let (node, engine) = owing(Setup::default(), [broken_del(0)]);
    node.faults.mend();
    node.faults.add(broken(Step::MountNetns, Site::Undo));
    owes(pay(&node, &engine));
    assert_eq!(owed(&engine, pod_id(1)), [(Step::MountNetns, None)]);
    node.faults.mend();
    assert_eq!(pay(&node, &engine), Ok(()));
    nothing_left(&node, &engine);
}

/// Rule 12: one walk, which all who pay join; each gets an answer that was
/// decided after it asked.
#[test]
fn two_who_pay_at_every_moment_of_a_try_are_one_walk() {
    let all = {
        let (node, engine) = owing(Setup::default(), [broken_del(0)]);
        node.arm(None);
        owes(pay(&node, &engine));
        node.points.passed()
    };
    assert!(all > 3, "{all} moments");
    for moment in 1..=all {
        for mends in [false, true] {
            let (node, engine) = owing(Setup::default(), [broken_del(0)]);
            let before = attempts(&engine);
            node.arm(None);
            let (now, second, faults) =
                (node.points.at(moment), engine.clone(), node.faults.clone());
            let second = node.ask(async move {
                now.await.expect("the moment comes");
                if mends {
                    faults.mend();
                }
                second.pay(pod_id(1)).await
            });
            let first = ask_to_pay(&node, &engine);
            let second = node.wait_for(&second).answer();
            let first = node.wait_for(&first).answer();
            let what = format!("at {moment}, mends: {mends}");
            if mends {
                // Whatever the first try came to: a try that began after the
                // second call cannot fail.
                assert_eq!((first, second), (Ok(()), Ok(())), "{what}");
                nothing_left(&node, &engine);
            } else {
                owes(first);
                owes(second);
                let tries = attempts(&engine) - before;
                assert!((1..=2).contains(&tries), "{what}: {tries} tries");
                nothing_wrong(&node, &engine);
            }
        }
    }
}

/// A stop is under way, and has not failed yet.
#[test]
fn who_pays_at_every_moment_of_a_stop_waits_for_its_end() {
    for fails in [false, true] {
        let stopped = |act: Option<u64>| {
            let (node, engine) = running(Setup::default());
            start_web(&node, &engine);
            if fails {
                node.faults.add(broken(Step::MountNetns, Site::Undo));
            }
            node.arm(None);
            let paid = act.map(|moment| {
                let (now, engine) = (node.points.at(moment), engine.clone());
                node.ask(async move {
                    now.await.expect("the moment comes");
                    engine.pay(pod_id(1)).await
                })
            });
            let stopped = stop(&node, &engine, pod_id(1));
            let passed = node.points.passed();
            let paid = paid.map(|paid| node.wait_for(&paid).answer());
            nothing_wrong(&node, &engine);
            (passed, stopped, paid)
        };
        let (all, ..) = stopped(None);
        for moment in 1..=all {
            let (_, stopped, paid) = stopped(Some(moment));
            let paid = paid.expect("it was asked for");
            match fails {
                false => assert_eq!((stopped, paid), (Ok(()), Ok(())), "at {moment}"),
                true => {
                    owes(stopped);
                    // Before the goal was recorded the pod ran, and owed nothing.
                    if moment > 3 || paid.is_err() {
                        owes(paid);
                    }
                }
            }
        }
    }
}

/// The daemon dies at every point while it pays; then it pays by itself.
#[test]
fn a_crash_at_every_point_of_a_payment_leaves_nothing() {
    for setup in [
        Setup::default(),
        Setup {
            attachments: 3,
            ..Setup::default()
        },
    ] {
        let prepared = || {
            let broken = (0..setup.attachments).map(broken_del);
            let (node, engine) = owing(setup, broken);
            node.faults.mend();
            node.arm(None);
            (node, engine)
        };
        let all = {
            let (node, engine) = prepared();
            assert_eq!(pay(&node, &engine), Ok(()));
            nothing_left(&node, &engine);
            node.points.passed()
        };
        assert!(all > 20, "{all} points");
        for point in 1..=all {
            for crash in [
                Crash::Kill { strays: true },
                Crash::Kill { strays: false },
                power(0),
                power(usize::MAX),
            ] {
                let (node, engine) = prepared();
                node.arm(Some(point));
                let paid = ask_to_pay(&node, &engine);
                let what = format!("{crash:?} at {point}");
                assert_eq!(node.wait_for(&paid), Ended::Crashed, "{what}");
                node.crash(crash);
                let (engine, _) = node.boot().answer();
                let _ = node.until(|| engine.get(pod_id(1)).is_none());
                node.host.let_strays_finish();
                if engine.get(pod_id(1)).is_some() {
                    // The removal was not answered, and is asked for again when
                    // power has taken it back.
                    assert_eq!(view(&engine, pod_id(1)).pod.goal, Goal::Stop, "{what}");
                    assert_eq!(remove(&node, &engine, pod_id(1)), Ok(()), "{what}");
                }
                nothing_left(&node, &engine);
            }
        }
    }
}

fn power(kept: usize) -> Crash {
    Crash::Power {
        kept,
        disk_lost: false,
    }
}

/// All that a pod owes is one word of the operator, and what lies under it is
/// undone when that is answered.
#[test]
fn all_debts_of_a_pod_are_forgiven_at_once() {
    let setup = Setup {
        attachments: 3,
        ..Setup::default()
    };
    let (node, engine) = running(setup);
    let mut spec = pod_spec("web");
    spec.ports = vec![port(8080)];
    start(&node, &engine, pod_id(1), spec.clone()).unwrap();
    for number in [0, 2] {
        node.faults.add(broken_del(number).of(pod_id(1)));
    }
    owes(remove(&node, &engine, pod_id(1)));
    // The name and the port are held, and the debt is named.
    let held = start(&node, &engine, pod_id(2), spec.clone()).unwrap_err();
    assert!(held.names_debt(), "{held}");
    assert!(
        held.to_string().contains("ConfigureCni of network net2"),
        "{held}"
    );
    spec.name = "other".to_owned();
    let held = start(&node, &engine, pod_id(2), spec.clone()).unwrap_err();
    assert!(held.names_debt(), "{held}");

    let mut events = engine.subscribe(None);
    let forgiven = forgive_all(&node, &engine).unwrap();
    let expected = [
        "ConfigureCni of network net2",
        "ConfigureCni of network net0",
    ];
    assert_eq!(forgiven, expected);
    assert!(engine.get(pod_id(1)).is_none(), "gone when it is answered");
    let left = [Thing::Address(0), Thing::Address(2)];
    assert_eq!(node.host.of(pod_id(1)), left, "written off, and no more");
    let told = std::iter::from_fn(|| events.live.try_recv().ok());
    let told: Vec<_> = told.filter(|event| event.what == "forgiven").collect();
    assert_eq!(told.len(), 2);
    assert!(
        told[0]
            .detail
            .ends_with("net2: the controller is gone for good")
    );
    // Both are free.
    spec.name = "web".to_owned();
    start(&node, &engine, pod_id(2), spec).unwrap();
}

fn port(host_port: u16) -> podwalk_engine::spec::PortMapping {
    podwalk_engine::spec::PortMapping {
        protocol: podwalk_engine::spec::Protocol::Tcp,
        host_ip: String::new(),
        host_port,
        pod_port: 80,
    }
}

/// What lies under a forgiven debt and cannot be undone is owed in its turn.
#[test]
fn what_lies_under_a_forgiven_debt_is_owed_if_it_stays() {
    let (node, engine) = owing(Setup::default(), [broken_del(0)]);
    node.faults.add(broken(Step::MountNetns, Site::Undo));
    assert_eq!(forgive_all(&node, &engine).unwrap().len(), 1);
    assert_eq!(owed(&engine, pod_id(1)), [(Step::MountNetns, None)]);
    node.faults.mend();
    assert_eq!(pay(&node, &engine), Ok(()));
    assert_eq!(node.host.of(pod_id(1)), [Thing::Address(0)]);
}

/// Scenario 52, for all debts at once.
#[test]
fn a_sandbox_that_may_be_alive_is_not_forgiven_with_the_rest() {
    let (node, engine) = owing(Setup::default(), [broken(Step::Start, Site::Undo)]);
    let error = forgive_all(&node, &engine).unwrap_err();
    assert!(
        matches!(error, EngineError::NotForgivable { .. }),
        "{error}"
    );
    assert_eq!(owed(&engine, pod_id(1)), [(Step::Start, None)]);
    nothing_wrong(&node, &engine);
}

/// An answer is on the platter; without one it is all or nothing.
#[test]
fn a_crash_at_every_point_of_forgiving_forgives_all_or_nothing() {
    let setup = Setup {
        attachments: 2,
        ..Setup::default()
    };
    let prepared = || owing(setup, [0, 1].map(broken_del));
    let all = {
        let (node, engine) = prepared();
        node.arm(None);
        assert_eq!(forgive_all(&node, &engine).unwrap().len(), 2);
        node.points.passed()
    };
    let (mut forgave, mut kept) = (0, 0);
    for point in 1..=all {
        for crash in [Crash::Kill { strays: false }, power(0), power(usize::MAX)] {
            let (node, engine) = prepared();
            node.arm(Some(point));
            let asked = ask_to_forgive_all(&node, &engine);
            assert_eq!(node.wait_for(&asked), Ended::Crashed);
            node.crash(crash);
            let (engine, _) = node.boot().answer();
            let what = format!("{crash:?} at {point}");
            match engine.get(pod_id(1)).map(|view| view.pod.debts.len()) {
                None => forgave += 1,
                Some(2) => kept += 1,
                Some(debts) => panic!("{what}: {debts} debts"),
            }
            assert!(node.host.has(pod_id(1), Thing::Address(0)), "{what}");
            let complaints = node.host.wrong();
            assert!(complaints.is_empty(), "{what}: {complaints:?}");
        }
    }
    assert!(forgave > 0 && kept > 0, "{forgave} forgave, {kept} kept");
}

/// A payment and a word of the operator, at every moment of one another.
#[test]
fn what_is_forgiven_at_every_moment_of_a_payment_is_forgiven() {
    let prepared = || {
        let (node, engine) = owing(Setup::default(), [broken_del(0)]);
        node.arm(None);
        (node, engine)
    };
    let all = {
        let (node, engine) = prepared();
        owes(pay(&node, &engine));
        node.points.passed()
    };
    let mut paid_too = 0;
    for moment in 1..=all {
        let (node, engine) = prepared();
        let (now, forgiving) = (node.points.at(moment), engine.clone());
        let forgiven = node.ask(async move {
            now.await.expect("the moment comes");
            let forgiven = forgiving.forgive_all(pod_id(1), "enough".to_owned());
            forgiven.await.map(|forgiven| forgiven.len())
        });
        let paid = ask_to_pay(&node, &engine);
        assert_eq!(node.wait_for(&forgiven).answer(), Ok(1), "at {moment}");
        // Its try may have ended before.
        match node.wait_for(&paid).answer() {
            Ok(()) => paid_too += 1,
            answer => owes(answer),
        }
        assert!(engine.get(pod_id(1)).is_none());
        assert_eq!(node.host.of(pod_id(1)), [Thing::Address(0)], "at {moment}");
    }
    assert!(paid_too > 0, "{all} moments");
}

/// A sandbox that nothing could be told of when the daemon came back: as soon
/// as that is possible, its end is noticed, and its life watched.
#[test]
fn a_started_pod_that_could_not_be_looked_at_is_looked_at_again() {
    for dies in [true, false] {
        let (node, engine) = running(Setup::default());
        start_web(&node, &engine);
        node.crash(Crash::Kill { strays: false });
        node.faults.add(broken(Step::Start, Site::Quiet));
        let (engine, report) = node.boot().answer();
        assert_eq!(report.started, [pod_id(1)]);
        if dies {
            node.host.let_sandbox_die(pod_id(1));
        }
        node.pass(10 * MINUTE);
        assert!(view(&engine, pod_id(1)).ready, "as recorded");
        node.faults.mend();
        // The pauses are bounded.
        node.pass(MINUTE);
        assert_eq!(view(&engine, pod_id(1)).pod.exited.is_some(), dies);
        nothing_wrong(&node, &engine);
        // What is known is not looked at for ever.
        assert_eq!(node.until(|| false), Ended::Stuck);
        assert_eq!(remove(&node, &engine, pod_id(1)), Ok(()));
        nothing_left(&node, &engine);
    }
}
