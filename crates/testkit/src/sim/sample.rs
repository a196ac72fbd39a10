//! Drawn schedules: several pods, several faults, several crashes.
//!
//! What cannot be enumerated is drawn, from a seed that is told. A schedule is
//! drawn bit by bit: each crash somewhere among the points that the run so far
//! has shown, so that no run is wasted on a place that does not exist, and each
//! prefix is a run of its own.

use std::time::Duration;

use podwalk_engine::decide::Policy;
use podwalk_engine::step::Step;

use crate::sim::explore::Survey;
use crate::sim::schedule::{Call, Client, Mode, Request, Schedule};
use crate::sim::{Crash, Fault, Mishap, Setup, Site, World};

/// Chance, the same from the same seed (SplitMix64).
#[derive(Debug, Clone)]
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number below `limit`; zero if there is none.
    fn below(&mut self, limit: u64) -> u64 {
        self.next().checked_rem(limit).unwrap_or(0)
    }

    fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    /// True once in so many times.
    fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    fn of<T: Clone, const N: usize>(&mut self, list: [T; N]) -> T {
        let index = self.index(N);
        list[index].clone()
    }
}

impl World {
    /// Carries out drawn schedules until there were so many runs, or a finding.
    pub fn sample(&self, seed: u64, runs: u64) -> Survey {
        let mut survey = Survey::default();
        let mut draw = Draw(seed);
        while survey.runs < runs && survey.found.is_empty() {
            let mut one = Draw(draw.next());
            self.family(&mut survey, &mut one);
        }
        survey
    }

    /// One drawn schedule, and its prefixes.
    fn family(&self, survey: &mut Survey, draw: &mut Draw) {
        let mut schedule = begin(draw);
        let mut run = survey.count(self, &schedule);
        for life in 0..=draw.below(4) {
            for _ in 0..draw.below(3) {
                let request = Request {
                    life: usize::try_from(life).unwrap_or(0),
                    point: 1 + draw.below(run.points),
                    client: draw.index(schedule.clients.len()),
                    call: draw.of([Call::Start, Call::Stop, Call::Remove, Call::Die, Call::Fill]),
                };
                schedule.requests.push(request);
                run = survey.count(self, &schedule);
            }
            if !survey.found.is_empty() || run.points == 0 || life == 3 {
                return;
            }
            let point = 1 + draw.below(run.points);
            schedule = schedule.dying(point, crash(draw));
            run = survey.count(self, &schedule);
        }
    }
}

fn begin(draw: &mut Draw) -> Schedule {
    let clients = 1 + draw.index(4);
    Schedule {
        setup: setup(draw),
        faults: (0..draw.below(4)).map(|_| fault(draw)).collect(),
        clients: (0..clients).map(|index| client(draw, index)).collect(),
        persistent: draw.once_in(2),
        ..Schedule::default()
    }
}

fn setup(draw: &mut Draw) -> Setup {
    let policy = Policy {
        resume: !draw.once_in(5),
        attempts: draw.of([1, 3, 3, 3]),
        debt_grace: draw.of([Duration::from_secs(120), Duration::ZERO]),
    };
    Setup {
        attachments: draw.of([0, 1, 1, 2, 2, 3]),
        late: draw.of([0, 0, 1, 1, 2]),
        consumes_network: draw.once_in(4),
        restless: draw.once_in(2),
        policy,
        recovery_at_once: draw.of([1, 2, 16]),
        seed: draw.next() >> 32,
    }
}

fn client(draw: &mut Draw, index: usize) -> Client {
    use Call::{Die, Fill, Pause, Remove, Start, Stop};
    let guest = match index {
        0 => Mode::Alone,
        _ => Mode::GuestOf(draw.index(index)),
    };
    let calls: &[Call] = draw.of([
        &[Start] as &[Call],
        &[Start, Stop],
        &[Start, Stop, Remove],
        &[Start, Remove],
        &[Start, Start, Stop, Start],
        &[Start, Remove, Start],
        &[Start, Die, Start],
        &[Start, Die, Stop, Remove],
        &[Start, Pause, Stop, Remove],
        &[Start, Fill, Die, Start],
        &[Fill, Start, Fill, Stop, Fill, Remove],
    ]);
    Client {
        mode: draw.of([
            Mode::Cni,
            Mode::Cni,
            Mode::Cni,
            Mode::Host,
            Mode::Alone,
            guest,
        ]),
        calls: calls.to_vec(),
    }
}

fn fault(draw: &mut Draw) -> Fault {
    let step = draw.of([
        Step::Create,
        Step::MountNetns,
        Step::ReadyNetwork,
        Step::ConfigureCni,
        Step::Start,
        Step::AttachLate,
    ]);
    let site = draw.of([
        Site::Apply,
        Site::Undo,
        Site::Undo,
        Site::Probe,
        Site::Quiet,
    ]);
    let after = draw.index(3);
    let mishap = draw.of([
        Mishap::Fail { after },
        Mishap::Fail { after },
        Mishap::LoseAnswer,
        Mishap::Hang { after },
        Mishap::Nonsense,
    ]);
    let times = draw.of([Some(1), Some(1), Some(2), Some(5), None]);
    let attaches = matches!(step, Step::ConfigureCni | Step::AttachLate);
    let of_one = attaches && matches!(site, Site::Apply | Site::Undo);
    let attachment = draw.of([None, Some(0), Some(1), Some(2)]);
    Fault {
        times,
        attachment: attachment.filter(|_| of_one),
        ..Fault::once(step, site, mishap)
    }
}

fn crash(draw: &mut Draw) -> Crash {
    match draw.below(4) {
        0 => Crash::Kill { strays: false },
        1 => Crash::Kill { strays: true },
        _ => Crash::Power {
            kept: draw.index(6),
            disk_lost: draw.once_in(2),
        },
    }
}
