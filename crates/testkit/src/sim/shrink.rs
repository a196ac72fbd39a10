//! The smallest schedule that still goes wrong, as a test that can be pasted.
//!
//! Whatever can be left out of a schedule is left out as long as something is
//! still wrong: deaths, requests, faults, clients, calls, attachments, and the
//! rest of what is not as by default. What remains is printed as Rust.

use std::fmt;

use crate::sim::print::Rust;
use crate::sim::schedule::{Mode, Schedule};
use crate::sim::{Setup, World};

/// How many runs a shrinking may take.
const PATIENCE: u32 = 1000;

/// A schedule after which something is wrong.
///
/// Displayed, it is a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counterexample {
    /// The schedule.
    pub schedule: Schedule,
    /// What is wrong.
    pub complaints: Vec<String>,
}

impl Counterexample {
    /// The smallest one to be found from a schedule that goes wrong.
    pub fn shrunk(world: &World, schedule: &Schedule) -> Self {
        let mut smallest = Self {
            schedule: schedule.clone(),
            complaints: world.run(schedule).complaints,
        };
        let mut patience = PATIENCE;
        while let Some(smaller) = smallest.smaller(world, &mut patience) {
            smallest = smaller;
        }
        smallest
    }

    fn smaller(&self, world: &World, patience: &mut u32) -> Option<Self> {
        for schedule in simpler(&self.schedule) {
            *patience = patience.checked_sub(1)?;
            let complaints = world.run(&schedule).complaints;
            if !complaints.is_empty() && !only_about_the_schedule(&complaints) {
                return Some(Self {
                    schedule,
                    complaints,
                });
            }
        }
        None
    }
}

/// A death whose point is not reached any more is no finding.
fn only_about_the_schedule(complaints: &[String]) -> bool {
    complaints.iter().all(|one| one.contains("did not die at"))
}

/// Schedules that are a little simpler, the much simpler ones first.
fn simpler(schedule: &Schedule) -> Vec<Schedule> {
    let mut simpler = Vec::new();
    let mut offer = |change: &dyn Fn(&mut Schedule)| {
        let mut other = schedule.clone();
        change(&mut other);
        if other != *schedule {
            simpler.push(other);
        }
    };
    for client in 0..schedule.clients.len() {
        offer(&|other| without_client(other, client));
    }
    for death in 0..schedule.deaths.len() {
        offer(&|other| without_death(other, death));
    }
    for request in 0..schedule.requests.len() {
        offer(&|other| {
            other.requests.remove(request);
        });
    }
    for fault in 0..schedule.faults.len() {
        offer(&|other| {
            other.faults.remove(fault);
        });
        offer(&|other| other.faults[fault].times = Some(1));
    }
    for (client, wants) in schedule.clients.iter().enumerate() {
        for call in 0..wants.calls.len() {
            offer(&|other| {
                other.clients[client].calls.remove(call);
            });
        }
    }
    offer(&|other| other.setup = Setup::default());
    offer(&|other| other.setup.seed = 0);
    offer(&|other| other.setup.consumes_network = false);
    offer(&|other| other.setup.restless = false);
    offer(&|other| other.setup.policy = Setup::default().policy);
    offer(&|other| other.setup.recovery_at_once = Setup::default().recovery_at_once);
    offer(&|other| other.setup.attachments = schedule.setup.attachments.min(1));
    offer(&|other| other.setup.late = 0);
    offer(&|other| other.persistent = false);
    for death in 0..schedule.deaths.len() {
        for earlier in [1, 2, 4, 8, 16, 32] {
            offer(&|other| {
                let point = &mut other.deaths[death].point;
                *point = point.saturating_sub(earlier).max(1);
            });
        }
    }
    simpler
}

fn without_client(schedule: &mut Schedule, client: usize) {
    schedule.clients.remove(client);
    schedule.requests.retain(|request| request.client != client);
    for request in &mut schedule.requests {
        request.client -= usize::from(request.client > client);
    }
    for other in &mut schedule.clients {
        match &mut other.mode {
            Mode::GuestOf(owner) if *owner == client => other.mode = Mode::Alone,
            Mode::GuestOf(owner) => *owner -= usize::from(*owner > client),
            Mode::Cni | Mode::Alone | Mode::Host => {}
        }
    }
}

/// The lives after it come one earlier.
fn without_death(schedule: &mut Schedule, death: usize) {
    schedule.deaths.remove(death);
    for request in &mut schedule.requests {
        request.life -= usize::from(request.life > death);
    }
}

impl fmt::Display for Counterexample {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.complaints.iter().flat_map(|one| one.lines()) {
            writeln!(out, "// {line}")?;
        }
        writeln!(out, "#[test]")?;
        writeln!(out, "fn counterexample() {{")?;
        for import in IMPORTS {
            writeln!(out, "    #[allow(unused_imports)]\n    use {import};")?;
        }
        writeln!(
            out,
            "    let world = World::default(); // yours, if you have one"
        )?;
        writeln!(out, "    let schedule = {};", Rust(&self.schedule))?;
        writeln!(out, "    let run = world.run(&schedule);")?;
        writeln!(out, "    assert_eq!(run.complaints, Vec::<String>::new());")?;
        writeln!(out, "}}")
    }
}

/// What a printed schedule may name.
const IMPORTS: [&str; 5] = [
    "podwalk_engine::decide::Policy",
    "podwalk_engine::id::PodId",
    "podwalk_engine::step::Step",
    "podwalk_testkit::sim::*",
    "std::time::Duration",
];

#[cfg(test)]
mod tests;
