use podwalk_engine::step::NetworkMode;

use super::*;
use crate::sim::schedule::Mode;

#[test]
fn every_point_is_died_at_in_every_way() {
    let schedule = Schedule::of(Mode::Cni, &[Call::Start]);
    let world = World::default();
    let points = world.run(&schedule).points;
    let survey = world.crashes(&schedule, 1, Share::ALL);
    // The run without a crash, four kinds everywhere, and what may be kept.
    assert!(
        survey.runs > 1 + 4 * points,
        "{} runs of {points} points",
        survey.runs
    );
    assert!(survey.found.is_empty());
    let halves = [0, 1].map(|part| world.crashes(&schedule, 1, Share { part, of: 2 }));
    let [first, second] = halves;
    assert_eq!(
        first.and(second).runs,
        survey.runs + 1,
        "both count the first run"
    );
}

#[test]
fn a_point_that_is_never_reached_is_no_proof() {
    let schedule = Schedule::of(Mode::Host, &[Call::Start]);
    let survey = World::default().crashes(&schedule, 1, Share::ALL);
    let refuted = survey
        .verdict(NetworkMode::Cni.ladder())
        .expect_err("no proof");
    let said = refuted.to_string();
    assert!(said.contains("MountNetns.Apply Before"), "{said}");
    let Refuted::NeverReached(points) = refuted else {
        panic!("{refuted}");
    };
    assert!(points.iter().all(|point| !point.starts_with("journal")));
}

#[test]
fn a_request_comes_at_every_moment_in_both_lives() {
    let schedule = Schedule::of(Mode::Host, &[Call::Start]);
    let world = World::default();
    let survey = world.requests(&schedule, &[Call::Stop], Share::ALL);
    assert!(survey.found.is_empty(), "{}", survey.found[0]);
    let crashes = world.crashes(&schedule, 1, Share::ALL);
    assert!(survey.runs > 5 * crashes.runs, "only {} runs", survey.runs);
}
