//! The engine's promise, on its own code: wherever it dies, nothing is lost and
//! nothing leaks.
//!
//! 1. `exhaustive`: all schedules of one pod with two crashes, and with one
//!    crash and a request at every moment.
//! 2. `sampled`: drawn schedules of several pods. `PODWALK_SEED` begins
//!    elsewhere, `PODWALK_PROOF_RUNS` says how many runs there are.
//! 3. `late`: the same with networks that are attached when the sandbox runs.
//! 4. `flaws`: engines that are broken on purpose. A harness that catches
//!    nothing proves nothing.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)] // a test says so by panicking

use std::fs::File;
use std::io::Write;

use podwalk_engine::step::Step;
use podwalk_testkit::sim::Survey;

mod exhaustive;
mod flaws;
mod found;
mod late;
mod sampled;

/// Prints what a survey has come to, adds it to the counts of the whole run, and
/// fails with a counterexample if there is one.
#[track_caller]
fn proved(what: &str, survey: &Survey, steps: &[Step]) {
    let passed: u64 = survey.reached.values().sum();
    println!(
        "{what}: {} schedules, {} points passed {passed} times, {} findings",
        survey.runs,
        survey.reached.len(),
        survey.found.len()
    );
    count("schedules", survey.runs);
    count("leaks", survey.found.len() as u64);
    if let Err(refuted) = survey.verdict(steps) {
        panic!("{what}: {refuted}");
    }
}

/// Adds a line to the file of counts, if somebody wants to know.
fn count(name: &str, number: u64) {
    let Some(path) = std::env::var_os("PODWALK_COUNTS") else {
        return;
    };
    let file = File::options().create(true).append(true).open(path);
    let line = format!("{name} {number}\n");
    file.unwrap().write_all(line.as_bytes()).unwrap();
}
