//! Several pods at once, drawn.

use podwalk_engine::step::Step;
use podwalk_testkit::sim::World;

use super::proved;

fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().expect(variable),
        Err(_) => default,
    }
}

/// Two tests share the runs, so that two cores do.
fn sample(half: u64) {
    let runs = number("PODWALK_PROOF_RUNS", 20_000);
    let seed = number("PODWALK_SEED", 1) * 2 + half;
    println!("drawn schedules: seed {seed}");
    let survey = World::default().sample(seed, runs / 2);
    proved("drawn schedules", &survey, &Step::ALL);
}

#[test]
fn drawn_schedules_1() {
    sample(0);
}

#[test]
fn drawn_schedules_2() {
    sample(1);
}
