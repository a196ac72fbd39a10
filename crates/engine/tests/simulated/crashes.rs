//! Dying at every point of a walk, and then at every point of its recovery.

use std::collections::BTreeMap;

use podwalk_engine::decide::Policy;
use podwalk_engine::step::{NetworkMode, Step};
use podwalk_testkit::sim::explore::{Call, Script, Survey, explore, explore_part};
use podwalk_testkit::sim::{Fault, Mishap, Setup, Site, pod_spec};

fn up_and_down() -> Script {
    Script {
        setup: Setup::default(),
        faults: Vec::new(),
        spec: pod_spec("web"),
        calls: vec![Call::Start, Call::Stop, Call::Remove],
    }
}

#[track_caller]
fn nothing_found(what: &str, survey: &Survey) {
    println!(
        "{what}: {} points, {} runs, {} findings",
        survey.points,
        survey.runs,
        survey.found.len()
    );
    assert!(survey.points > 0, "{what}: no point was passed");
    assert!(survey.found.is_empty(), "{what}: {:#?}", survey.found);
}

/// A point that was never hit proves nothing.
fn every_side_was_hit(reached: &BTreeMap<String, u64>, steps: &[Step]) {
    let hit = |begin: String| reached.keys().any(|point| point.starts_with(&begin));
    for step in steps {
        for side in ["Apply", "Undo", "Quiet"] {
            assert!(hit(format!("{step}.{side}")), "{step}.{side} was never hit");
        }
    }
    for point in ["before", "handed-over", "on-the-platter"] {
        assert!(hit(format!("journal.{point}")), "{point} was never hit");
    }
}

#[test]
fn one_crash_in_every_mode() {
    for (mode, attachments) in [
        (NetworkMode::Cni, 1),
        (NetworkMode::Cni, 3),
        (NetworkMode::None, 1),
        (NetworkMode::Host, 1),
    ] {
        let mut script = up_and_down();
        script.setup.attachments = attachments;
        script.spec.network = mode.clone();
        let survey = explore(&script, 1);
        nothing_found(&format!("{mode}, {attachments} attachments"), &survey);
        every_side_was_hit(&survey.reached, mode.ladder());
    }
}

#[test]
fn one_crash_of_a_walk_that_is_not_to_be_resumed() {
    let mut script = up_and_down();
    script.setup.policy = Policy {
        resume: false,
        ..Policy::default()
    };
    nothing_found("not resumed", &explore(&script, 1));
}

#[test]
fn one_crash_whoever_runs_first() {
    for seed in 1..=5 {
        let mut script = up_and_down();
        script.setup.seed = seed;
        nothing_found(&format!("seed {seed}"), &explore(&script, 1));
    }
}

/// A step that fails is undone exactly, from wherever the crash leaves it.
#[test]
fn one_crash_of_a_start_that_fails() {
    for step in NetworkMode::Cni.ladder() {
        for mishap in [
            Mishap::Fail { after: 0 },
            Mishap::Fail { after: 1 },
            Mishap::Fail { after: 2 },
            Mishap::LoseAnswer,
            Mishap::Hang { after: 1 },
        ] {
            let mut script = up_and_down();
            script.calls = vec![Call::Start];
            script.faults = vec![Fault::once(*step, Site::Apply, mishap)];
            let survey = explore(&script, 1);
            nothing_found(&format!("{step} fails by {mishap:?}"), &survey);
        }
    }
}

/// Each undo fails once, with a crash at every point of the retry.
#[test]
fn one_crash_of_a_stop_whose_undo_fails_once() {
    for step in NetworkMode::Cni.ladder() {
        for site in [Site::Undo, Site::Quiet] {
            for mishap in [Mishap::Fail { after: 0 }, Mishap::LoseAnswer] {
                let mut script = up_and_down();
                script.faults = vec![Fault::once(*step, site, mishap)];
                let survey = explore(&script, 1);
                nothing_found(&format!("{step} {site:?} {mishap:?}"), &survey);
            }
        }
    }
}

/// All schedules with two crashes, in two halves that run side by side.
fn two_crashes(part: u64) {
    let survey = explore_part(&up_and_down(), 2, part, 2);
    nothing_found("two crashes", &survey);
    assert!(survey.runs > 20_000, "only {} runs", survey.runs);
}

#[test]
fn two_crashes_at_even_points() {
    two_crashes(0);
}

#[test]
fn two_crashes_at_odd_points() {
    two_crashes(1);
}

/// Scenario 58: a sandbox that takes the network away is climbed to anew from
/// Created, also when that descent is cut short.
#[test]
fn scenario_58_two_crashes_with_a_network_that_is_consumed() {
    let mut script = up_and_down();
    script.setup.consumes_network = true;
    script.calls = vec![Call::Start];
    let survey = explore(&script, 2);
    nothing_found("consumed network", &survey);
    every_side_was_hit(&survey.reached, NetworkMode::Cni.ladder());
}
