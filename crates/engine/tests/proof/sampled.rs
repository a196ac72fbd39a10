//! Several pods at once, drawn.

use podwalk_engine::step::Step;
use podwalk_testkit::sim::{Call, Client, Crash, Death, Mode, Request, Schedule, Setup, World};

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

/// A drawn one: a walk's record is refused while a Remove is on its way to be recorded. It was told
/// that it is refused and was carried out, after a Start that came later had joined the pod.
#[test]
fn a_remove_on_its_way_is_not_told_to_be_refused() {
    let schedule = Schedule {
        setup: Setup {
            attachments: 3,
            late: 1,
            seed: 3474844093,
            ..Setup::default()
        },
        clients: vec![
            Client {
                mode: Mode::Host,
                calls: vec![Call::Start, Call::Stop],
            },
            Client {
                mode: Mode::Alone,
                calls: vec![Call::Start, Call::Fill, Call::Die],
            },
            Client {
                mode: Mode::Cni,
                calls: vec![Call::Start, Call::Remove, Call::Start],
            },
            Client {
                mode: Mode::Cni,
                calls: vec![Call::Start, Call::Stop],
            },
        ],
        requests: vec![
            Request {
                life: 0,
                point: 98,
                client: 3,
                call: Call::Remove,
            },
            Request {
                life: 0,
                point: 56,
                client: 0,
                call: Call::Die,
            },
            Request {
                life: 1,
                point: 54,
                client: 1,
                call: Call::Die,
            },
        ],
        deaths: vec![Death {
            point: 40,
            crash: Crash::Kill { strays: true },
        }],
        persistent: true,
        ..Schedule::default()
    };
    let run = World::default().run(&schedule);
    assert_eq!(run.complaints, Vec::<String>::new());
}
