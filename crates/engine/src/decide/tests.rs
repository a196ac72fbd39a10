//! The whole table, as one golden file.
//!
//! Each block is one shape of a pod under one goal. Its lines are the leaves of
//! a tree over everything else that [`decide`] may ask: a condition that is not
//! named in a line makes no difference there, so that all cells, illegal ones
//! included, are in the file.

use std::fmt::Write;
use std::rc::Rc;

use super::*;
use crate::fixture::{SECOND, Story, at, error};
use crate::pod::{Debt, Exit};
use crate::record::{Goal, Intent, Observation};
use crate::step::NetworkMode;

/// One thing that a decision may depend on, and the values it can have.
struct Condition {
    name: &'static str,
    values: &'static [&'static str],
    set: fn(&mut Case, usize),
}

#[derive(Clone)]
struct Case {
    /// Shared until it is changed: there are very many cases.
    pod: Rc<Pod>,
    facts: Facts,
    frontier: Step,
}

const NOW: u64 = 10_000;

const CONDITIONS: &[Condition] = &[
    Condition {
        name: "closing",
        values: &["no", "yes"],
        set: |case, value| case.facts.closing = value == 1,
    },
    Condition {
        name: "debt",
        values: &[
            "none",
            "fresh",
            "due",
            "past grace",
            "past grace and due",
            "answered",
            "answered and due",
        ],
        set: owe,
    },
    Condition {
        name: "urgent",
        values: &["no", "yes"],
        set: |case, value| case.facts.urgent = value == 1,
    },
    Condition {
        name: "restarting",
        values: &["no", "yes"],
        set: |case, value| {
            if value == 1 {
                Rc::make_mut(&mut case.pod).restarting = true;
            }
        },
    },
    Condition {
        name: "hold",
        values: &["top", "below"],
        set: |case, value| {
            if value == 1 {
                let below = Step::ALL.iter().rev();
                let below = below.copied().find(|step| *step < case.frontier);
                case.facts.hold = below.unwrap_or(Step::Create);
            }
        },
    },
    Condition {
        name: "failure",
        values: &["no", "yes"],
        set: |case, value| {
            if value == 1 {
                let slots = &mut Rc::make_mut(&mut case.pod).slots;
                slots[case.frontier.rank()].failure = Some(error("it said no"));
            }
        },
    },
    Condition {
        name: "exited",
        values: &["no", "yes"],
        set: |case, value| {
            if value == 1 {
                let noticed = at(1, NOW);
                let exit = Exit {
                    noticed,
                    code: None,
                };
                Rc::make_mut(&mut case.pod).exited = Some(exit);
            }
        },
    },
    Condition {
        name: "network consumed",
        values: &["no", "yes"],
        set: |case, value| {
            if value == 0 || case.pod.slot(Step::Start).intent.is_none() {
                return;
            }
            let slots = &mut Rc::make_mut(&mut case.pod).slots;
            if let Some(Intent::Start(intent)) = &mut slots[Step::Start.rank()].intent {
                intent.consumes_network = true;
            }
        },
    },
    Condition {
        name: "attempts left",
        values: &["yes", "no"],
        set: |case, value| {
            if value == 1 {
                let slots = &mut Rc::make_mut(&mut case.pod).slots;
                slots[case.frontier.rank()].climbs = case.facts.policy.attempts;
            }
        },
    },
    Condition {
        name: "begun by",
        values: &["this process", "another", "another, not resumed"],
        set: |case, value| {
            case.facts.inherited = value > 0;
            case.facts.policy.resume = value < 2;
        },
    },
    Condition {
        name: "found",
        values: &[
            "not looked",
            "absent",
            "complete",
            "partial",
            "unknown",
            "unknown for too long",
        ],
        set: |case, value| {
            let probe = match value {
                0 => return,
                1 => Probe::Absent,
                2 => Probe::Complete(()),
                3 => Probe::Partial,
                4 => Probe::Unknown,
                _ => {
                    case.facts.in_vain = case.facts.policy.debt_grace;
                    Probe::Unknown
                }
            };
            case.facts.found = Some((case.frontier, probe));
        },
    },
];

/// A debt of the frontier step, of an age and with so many attempts.
fn owe(case: &mut Case, value: usize) {
    // First failure and last failure, seconds ago; a third attempt waits 4 s.
    let (first, last) = match value {
        0 => return,
        1 => (10, 1),
        2 => (10, 4),
        3 | 5 => (200, 1),
        _ => (200, 4),
    };
    let pod = Rc::make_mut(&mut case.pod);
    pod.debts = vec![Debt {
        step: case.frontier,
        attachment: None,
        attempts: 3,
        first: at(1, NOW - first),
        last: at(1, NOW - last),
        error: error("its undo said no"),
    }];
    if value >= 5 {
        pod.outlived = Some(pod.goal);
    }
}

fn facts() -> Facts {
    Facts {
        now: at(1, NOW),
        policy: Policy::default(),
        found: None,
        in_vain: Duration::ZERO,
        inherited: false,
        urgent: false,
        hold: Step::AttachLate,
        closing: false,
    }
}

/// Decisions by number: there are many cells, and few different ones.
#[derive(Default)]
struct Decisions {
    known: Vec<Next>,
    cells: Vec<usize>,
}

impl Decisions {
    fn push(&mut self, next: Next) {
        let known = self.known.iter().position(|known| *known == next);
        self.cells.push(known.unwrap_or(self.known.len()));
        if known.is_none() {
            self.known.push(next);
        }
    }
}

/// The decisions for all values of the conditions from `depth` on.
fn decisions(case: &Case, depth: usize, into: &mut Decisions) {
    let Some(condition) = CONDITIONS.get(depth) else {
        into.push(decide(&case.pod, &case.facts));
        return;
    };
    for value in 0..condition.values.len() {
        let mut case = case.clone();
        (condition.set)(&mut case, value);
        decisions(&case, depth + 1, into);
    }
}

/// Writes the smallest tree that says the same.
fn tree(depth: usize, cells: &[usize], known: &[Next], path: &str, out: &mut String) {
    if cells.iter().all(|decision| *decision == cells[0]) {
        let path = if path.is_empty() { " always" } else { path };
        writeln!(out, " {path} → {}", known[cells[0]]).unwrap();
        return;
    }
    let condition = &CONDITIONS[depth];
    let values = condition.values;
    let parts: Vec<_> = cells.chunks(cells.len() / values.len()).collect();
    let mut seen: Vec<&[usize]> = Vec::new();
    for part in &parts {
        if seen.contains(part) {
            continue;
        }
        seen.push(part);
        let same = parts.iter().zip(values).filter(|(other, _)| *other == part);
        let names: Vec<_> = same.map(|(_, value)| *value).collect();
        let further = match names.len() == values.len() {
            true => path.to_owned(),
            false => format!("{path} [{}: {}]", condition.name, names.join(" | ")),
        };
        tree(depth + 1, part, known, &further, out);
    }
}

/// Every shape that a pod of a mode can have, and those that it cannot.
fn shapes(mode: &NetworkMode) -> Vec<(String, Pod, Step)> {
    shapes_of(&Story::new(mode.clone(), 2).started().pod())
}

fn shapes_of(started: &Pod) -> Vec<(String, Pod, Step)> {
    let mut shapes = Vec::new();
    let top = started.ladder().last().copied().unwrap_or(Step::Create);
    for step in started.ladder() {
        let mut pod = started.clone();
        for above in Step::ALL.iter().filter(|above| *above >= step) {
            pod.slots[above.rank()] = Default::default();
        }
        let mut maybe = pod.clone();
        let status = |pod: &mut Pod, status| pod.slots[step.rank()].status = status;
        shapes.push((format!("{step} Never"), pod, *step));
        maybe.slots[step.rank()] = started.slots[step.rank()].clone();
        status(&mut maybe, Status::Maybe);
        shapes.push((format!("{step} Maybe"), maybe, *step));
        if *step != top {
            let mut hole = started.clone();
            status(&mut hole, Status::Never);
            shapes.push((format!("{step} Never below Done (illegal)"), hole, *step));
        }
    }
    shapes.push(("all Done".to_owned(), started.clone(), Step::Start));
    shapes
}

#[test]
fn the_whole_table() {
    let mut table = String::new();
    for mode in [NetworkMode::Cni, NetworkMode::None, NetworkMode::Host] {
        for goal in [Goal::Run, Goal::Stop, Goal::Remove] {
            for (name, mut pod, frontier) in shapes(&mode) {
                pod.goal = goal;
                let facts = facts();
                let case = Case {
                    pod: Rc::new(pod),
                    facts,
                    frontier,
                };
                let mut all = Decisions::default();
                decisions(&case, 0, &mut all);
                writeln!(table, "mode {mode}, goal {goal:?}, {name}").unwrap();
                tree(0, &all.cells, &all.known, "", &mut table);
            }
        }
    }
    insta::assert_snapshot!(table);
}

/// What a late network adds to the table: its own rows, and those of a sandbox
/// beside it. The lower ones are those of a pod that has none.
#[test]
fn the_table_of_a_pod_with_a_late_network() {
    let started = Story::with_late(1).started().pod();
    let mut table = String::new();
    for goal in [Goal::Run, Goal::Stop, Goal::Remove] {
        for (name, mut pod, frontier) in late_shapes(&started) {
            pod.goal = goal;
            let case = Case {
                pod: Rc::new(pod),
                facts: facts(),
                frontier,
            };
            let mut all = Decisions::default();
            decisions(&case, 0, &mut all);
            writeln!(
                table,
                "one late network, goal {goal:?}, {name}; {frontier} may be found, and owe"
            )
            .unwrap();
            tree(0, &all.cells, &all.known, "", &mut table);
        }
    }
    insta::assert_snapshot!(table);
}

fn late_shapes(started: &Pod) -> Vec<(String, Pod, Step)> {
    let mut shapes = shapes_of(started);
    shapes.retain(|(_, _, step)| *step >= Step::Start);
    // What is found may be about the sandbox beside it.
    for status in [Status::Never, Status::Maybe] {
        let mut pod = started.clone();
        pod.slots[Step::AttachLate.rank()].status = status;
        shapes.push((format!("AttachLate {status:?}"), pod, Step::Start));
    }
    shapes.push(("all Done".to_owned(), started.clone(), Step::AttachLate));
    let mut owing = started.clone();
    owing.slots[Step::Start.rank()] = Default::default();
    shapes.push((
        "Start Never, AttachLate Done".to_owned(),
        owing,
        Step::AttachLate,
    ));
    shapes
}

#[test]
fn a_pod_of_another_ones_network_walks_as_one_of_the_hosts() {
    let mode = NetworkMode::Pod(crate::fixture::pod_id(9));
    for ((_, host, step), (_, guest, _)) in shapes(&NetworkMode::Host).iter().zip(shapes(&mode)) {
        let (mut one, mut other) = (Decisions::default(), Decisions::default());
        for (pod, into) in [(host, &mut one), (&guest, &mut other)] {
            let case = Case {
                pod: Rc::new(pod.clone()),
                facts: facts(),
                frontier: *step,
            };
            decisions(&case, 0, into);
        }
        assert_eq!((one.known, one.cells), (other.known, other.cells));
    }
}

/// Scenario 53: once turned down, nothing leads up again.
#[test]
fn scenario_53_after_a_goal_to_end_nothing_is_climbed_or_adopted() {
    for mode in [NetworkMode::Cni, NetworkMode::None, NetworkMode::Host] {
        for (name, mut pod, frontier) in shapes(&mode) {
            for goal in [Goal::Stop, Goal::Remove] {
                pod.goal = goal;
                let mut all = Decisions::default();
                let case = Case {
                    pod: Rc::new(pod.clone()),
                    facts: facts(),
                    frontier,
                };
                decisions(&case, 0, &mut all);
                let up = |next: &&Next| matches!(next, Next::Climb(..) | Next::Adopt(_));
                assert_eq!(all.known.iter().find(up), None, "{name} under {goal:?}");
            }
        }
    }
}

#[test]
fn an_intent_is_on_the_platter_only_before_what_survives_power_loss() {
    let expected = |attachments, step| match (attachments, step) {
        (2, Step::ConfigureCni) => Durability::Power,
        _ => Durability::Process,
    };
    for attachments in [0, 2] {
        for step in [Step::MountNetns, Step::ConfigureCni, Step::Start] {
            let below = Step::ALL[step.rank() - 1];
            let pod = Story::new(NetworkMode::Cni, attachments).up_to(below);
            assert_eq!(
                decide(&pod.pod(), &facts()),
                Next::Climb(step, expected(attachments, step))
            );
        }
    }
}

#[test]
fn what_is_owed_waits_longer_each_time_and_never_more_than_a_minute() {
    let mut debt = Debt {
        step: Step::MountNetns,
        attachment: None,
        attempts: 1,
        first: at(1, 100),
        last: at(1, 100),
        error: error("no"),
    };
    let mut waits = Vec::new();
    for attempts in [1, 2, 3, 6, 7, 8, 1000, u32::MAX] {
        debt.attempts = attempts;
        waits.push(debt.backoff().as_secs());
    }
    assert_eq!(waits, [1, 2, 4, 32, 60, 60, 60, 60]);
}

/// A wall clock that was wrong before the reboot keeps no debt from its turn.
#[test]
fn a_debt_from_before_a_reboot_is_due_by_this_boots_age_at_the_latest() {
    let story = Story::new(NetworkMode::Cni, 1).started();
    let story = story.then(crate::fixture::goal(Goal::Stop));
    let mut pod = story
        .then(crate::fixture::undone(Step::Start, None))
        .then(crate::fixture::failed(
            Step::ConfigureCni,
            crate::record::Direction::Down,
            Some(0),
        ))
        .observes(Observation::Rebooted {
            from: crate::fixture::boot(1),
            last_record_ns: 0,
            cni_may_be_back: false,
        })
        .pod();
    // In the other boot the wall clock was years ahead.
    pod.debts[0].first.wall_ns = 1 << 62;
    pod.debts[0].last.wall_ns = 1 << 62;
    let mut facts = facts();
    facts.now = at(2, 1);
    assert_eq!(decide(&pod, &facts), Next::Descend(Step::ConfigureCni));
    facts.now.boottime_ns = SECOND / 2;
    let wait = Duration::from_millis(500);
    let step = Step::ConfigureCni;
    assert_eq!(decide(&pod, &facts), Next::Owe { step, wait });
}
