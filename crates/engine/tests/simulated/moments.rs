//! A request, or its end, at every moment of a walk.

use podwalk_engine::record::Goal;
use podwalk_engine::step::Step;
use podwalk_testkit::sim::{Ended, Fault, Mishap, Site, Thing};

use super::*;

/// What a client does at some moment.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Act {
    Stop,
    Remove,
    StartAnother,
}

/// How many points a walk has.
fn moments(walk: impl Fn(&Node, &Engine)) -> u64 {
    let (node, engine) = running(Setup::default());
    walk(&node, &engine);
    node.points.passed()
}

fn act_at(node: &Node, engine: &Engine, moment: u64, act: Act) -> Asked<Result<(), EngineError>> {
    let now = node.points.at(moment);
    let engine = engine.clone();
    node.ask(async move {
        now.await.expect("the moment comes");
        match act {
            Act::Stop => engine.stop(pod_id(1)).await,
            Act::Remove => engine.remove(pod_id(1)).await,
            Act::StartAnother => engine.start(pod_id(2), pod_spec("web")).await.map(drop),
        }
    })
}

/// Scenario 15 and rule 12: DEL follows ADD, whenever the end is asked for.
#[test]
fn scenario_15_an_end_that_is_asked_for_at_every_moment_of_a_start() {
    let all = moments(|node, engine| {
        node.arm(None);
        start_web(node, engine);
    });
    assert!(all > 30, "{all} moments");
    for moment in 1..=all {
        for act in [Act::Stop, Act::Remove] {
            for seed in [0, 1, 2] {
                let (node, engine) = running(Setup {
                    seed,
                    ..Setup::default()
                });
                node.arm(None);
                let ended = act_at(&node, &engine, moment, act);
                let started = ask_start(&node, &engine, pod_id(1), pod_spec("web"));
                let what = format!("{act:?} at {moment}, seed {seed}");
                // Before the pod is known there is nothing to end.
                match node.wait_for(&ended).answer() {
                    Ok(()) => {}
                    Err(EngineError::NoSuchPod { .. }) if moment == 1 => continue,
                    Err(error) => panic!("{what}: {error}"),
                }
                let started = node.wait_for(&started).answer();
                let told = matches!(started, Ok(_) | Err(EngineError::Stopped { .. }));
                assert!(told, "{what}: {started:?}");
                node.host.let_strays_finish();
                match act {
                    Act::Remove => nothing_left(&node, &engine),
                    _ => {
                        assert_eq!(node.host.of(pod_id(1)), [Thing::File], "{what}");
                        let pod = view(&engine, pod_id(1)).pod;
                        assert!(pod.goal == Goal::Stop && pod.is_down(), "{what}");
                        nothing_wrong(&node, &engine);
                    }
                }
            }
        }
    }
}

/// Rule 12: a start is cut short, every other effect is waited for.
#[test]
fn a_stop_waits_for_a_hanging_add_and_kills_a_hanging_start_at_once() {
    for (step, seconds) in [(Step::ConfigureCni, 30), (Step::Start, 0)] {
        let (node, engine) = running(Setup::default());
        let hang = Mishap::Hang { after: 1 };
        node.faults.add(Fault::once(step, Site::Apply, hang));
        let started = ask_start(&node, &engine, pod_id(1), pod_spec("web"));
        node.settle();
        let begun = engine.now();
        assert_eq!(stop(&node, &engine, pod_id(1)), Ok(()));
        assert_eq!(engine.now().since(&begun).as_secs(), seconds, "{step}");
        assert_eq!(
            node.wait_for(&started).answer(),
            Err(EngineError::Stopped { id: pod_id(1) })
        );
        node.host.let_strays_finish();
        assert_eq!(node.host.of(pod_id(1)), [Thing::File]);
    }
}

#[test]
fn requests_at_every_moment_of_a_stop_join_it() {
    let all = moments(|node, engine| {
        start_web(node, engine);
        node.arm(None);
        stop(node, engine, pod_id(1)).unwrap();
    });
    for moment in 1..=all {
        for act in [Act::Stop, Act::Remove, Act::StartAnother] {
            let (node, engine) = running(Setup::default());
            start_web(&node, &engine);
            node.arm(None);
            let asked = act_at(&node, &engine, moment, act);
            let what = format!("{act:?} at {moment}");
            assert_eq!(stop(&node, &engine, pod_id(1)), Ok(()), "{what}");
            let answer = node.wait_for(&asked).answer();
            match act {
                Act::StartAnother if engine.get(pod_id(2)).is_none() => {
                    // The goal was not recorded yet: it joined, and was stopped.
                    let stopped = Err(EngineError::Stopped { id: pod_id(1) });
                    assert!(answer == stopped || answer == Ok(()), "{what}: {answer:?}");
                }
                Act::StartAnother => {
                    assert_eq!(answer, Ok(()), "{what}");
                    assert!(view(&engine, pod_id(2)).ready, "{what}");
                    nothing_wrong(&node, &engine);
                }
                Act::Stop => {
                    assert_eq!(answer, Ok(()), "{what}");
                    assert_eq!(node.host.of(pod_id(1)), [Thing::File], "{what}");
                }
                Act::Remove => {
                    assert_eq!(answer, Ok(()), "{what}");
                    nothing_left(&node, &engine);
                }
            }
        }
    }
}

#[test]
fn requests_at_every_moment_of_a_removal_join_it_or_find_nothing() {
    let all = moments(|node, engine| {
        start_web(node, engine);
        node.arm(None);
        remove(node, engine, pod_id(1)).unwrap();
    });
    for moment in 1..=all {
        for act in [Act::Stop, Act::Remove] {
            let (node, engine) = running(Setup::default());
            start_web(&node, &engine);
            node.arm(None);
            let asked = act_at(&node, &engine, moment, act);
            assert_eq!(remove(&node, &engine, pod_id(1)), Ok(()));
            let answer = node.wait_for(&asked).answer();
            let gone = Err(EngineError::NoSuchPod { id: pod_id(1) });
            assert!(
                answer == Ok(()) || answer == gone,
                "{act:?} at {moment}: {answer:?}"
            );
            nothing_left(&node, &engine);
        }
    }
}

/// Scenario 2: dropping the call changes nothing.
#[test]
fn scenario_02_a_caller_that_goes_away_at_every_moment_changes_nothing() {
    let all = moments(|node, engine| {
        node.arm(None);
        start_web(node, engine);
    });
    for moment in 1..all {
        let (node, engine) = running(Setup::default());
        node.arm(None);
        let now = node.points.at(moment);
        let asked = ask_start(&node, &engine, pod_id(1), pod_spec("web"));
        let _ = node.ask(async move {
            now.await.expect("the moment comes");
            asked.give_up();
        });
        let ready = || engine.get(pod_id(1)).is_some_and(|view| view.ready);
        assert_eq!(node.until(ready), Ended::Answered(()), "at {moment}");
        nothing_wrong(&node, &engine);
    }
}

#[test]
fn scenario_02_an_end_whose_caller_goes_away_at_every_moment_is_an_end() {
    for (act, goal) in [(Act::Stop, Goal::Stop), (Act::Remove, Goal::Remove)] {
        let all = moments(|node, engine| {
            start_web(node, engine);
            node.arm(None);
            match goal {
                Goal::Stop => stop(node, engine, pod_id(1)).unwrap(),
                _ => remove(node, engine, pod_id(1)).unwrap(),
            }
        });
        for moment in 1..all {
            let (node, engine) = running(Setup::default());
            start_web(&node, &engine);
            node.arm(None);
            let now = node.points.at(moment);
            let asking = engine.clone();
            let asked = node.ask(async move {
                match goal {
                    Goal::Stop => asking.stop(pod_id(1)).await,
                    _ => asking.remove(pod_id(1)).await,
                }
            });
            let _ = node.ask(async move {
                now.await.expect("the moment comes");
                asked.give_up();
            });
            let down = || match engine.get(pod_id(1)) {
                None => true,
                Some(view) => goal == Goal::Stop && view.pod.is_down(),
            };
            assert_eq!(node.until(down), Ended::Answered(()), "{act:?} at {moment}");
            node.settle();
            nothing_wrong(&node, &engine);
        }
    }
}

/// The request is already on its way when its caller goes: nothing, or all.
#[test]
fn a_call_that_is_dropped_before_it_ran_has_done_nothing() {
    let (node, engine) = running(Setup::default());
    let asked = ask_start(&node, &engine, pod_id(1), pod_spec("web"));
    asked.give_up();
    let _ = node.until(|| false);
    match engine.get(pod_id(1)) {
        None => nothing_left(&node, &engine),
        Some(view) => assert!(view.ready),
    }
}

/// An end that is noticed before the start is recorded is not lost: it is
/// recorded after it, or the start fails.
#[test]
fn a_sandbox_that_ends_at_every_moment_of_its_start_is_never_ready() {
    let all = moments(|node, engine| {
        node.arm(None);
        start_web(node, engine);
    });
    let mut noted = 0;
    for moment in 1..=all {
        let (node, engine) = running(Setup::default());
        node.arm(None);
        let now = node.points.at(moment);
        let (host, told) = (node.host.clone(), engine.clone());
        let end = node.ask(async move {
            now.await.expect("the moment comes");
            let process = host.process(pod_id(1))?;
            host.let_sandbox_die(pod_id(1));
            told.note_exit(pod_id(1), process, Some(137)).await;
            Some(process)
        });
        let started = ask_start(&node, &engine, pod_id(1), pod_spec("web"));
        let ended = node.wait_for(&end).answer();
        let started = node.wait_for(&started).answer();
        if ended.is_none() {
            continue;
        }
        let Some(view) = engine.get(pod_id(1)) else {
            assert!(started.is_err(), "at {moment}");
            nothing_left(&node, &engine);
            continue;
        };
        assert!(!view.ready, "at {moment}");
        let code = view.pod.exited.expect("its end is recorded").code;
        assert_eq!(code, Some(137), "at {moment}");
        noted += 1;
    }
    assert!(noted > 2, "only {noted} ends were noted");
}
