//! Engines that are broken on purpose, and each is caught.
//!
//! Every flaw is one line of the design left out: by another function that
//! decides, or by a part that does not do what the engine relies on. Each world
//! explores what every world must survive; a finding is due, and what it says
//! must be about the flaw.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use podwalk_engine::clock::{Clock, Stamp};
use podwalk_engine::decide::{Facts, Next, decide};
use podwalk_engine::engine::Parts;
use podwalk_engine::error::StepError;
use podwalk_engine::id::{BootId, PodId};
use podwalk_engine::pod::{Obituary, Pod, Status};
use podwalk_engine::ports::{
    BoxFuture, Durability, Failure, Journal, JournalError, Probe, Replay, Rung, StepType,
};
use podwalk_engine::record::{Cause, Entry, Goal, Record};
use podwalk_engine::rungs::Rungs;
use podwalk_engine::step::Step;
use podwalk_testkit::sim::{
    Call, Counterexample, Fault, Mishap, Mode, Node, Schedule, Share, SimClock, Site, Survey, World,
};

use super::count;

/// Everything that a sound engine survives, until something is found.
fn explored(world: &World) -> Survey {
    let up_and_down = Schedule::up_and_down();
    let mut survey = world.crashes(&up_and_down, 1, Share::ALL);
    let mut restless = up_and_down;
    restless.setup.restless = true;
    let calls = [Call::Start, Call::Pause, Call::Stop, Call::Remove];
    for schedule in [restless, Schedule::of(Mode::Cni, &calls)] {
        if survey.found.is_empty() {
            survey = survey.and(world.crashes(&schedule, 1, Share::ALL));
        }
    }
    let sides = [Site::Apply, Site::Undo, Site::Quiet];
    let mishaps = [
        Mishap::Fail { after: 1 },
        Mishap::LoseAnswer,
        Mishap::Hang { after: 1 },
    ];
    for step in [Step::MountNetns, Step::ConfigureCni, Step::Start] {
        for (site, mishap) in sides
            .iter()
            .flat_map(|site| mishaps.map(|one| (*site, one)))
        {
            if !survey.found.is_empty() {
                return survey;
            }
            let mut schedule = Schedule::of(Mode::Cni, &[Call::Start, Call::Remove]);
            schedule.faults = vec![Fault::once(step, site, mishap)];
            survey = survey.and(world.crashes(&schedule, 1, Share::ALL));
        }
    }
    survey
}

/// Expects that the flaw is caught, and that the finding says one of these.
#[track_caller]
fn caught(flaw: &str, world: &World, due: &[&str]) -> Counterexample {
    caught_by(flaw, world, explored, due)
}

/// The same, by this exploration.
#[track_caller]
pub(super) fn caught_by(
    flaw: &str,
    world: &World,
    explored: fn(&World) -> Survey,
    due: &[&str],
) -> Counterexample {
    let survey = explored(world);
    let Some(found) = survey.found.first() else {
        panic!("{flaw}: not caught in {} runs", survey.runs);
    };
    println!("{flaw}: caught after {} runs\n{found}", survey.runs);
    let said = |complaint: &String| due.iter().any(|words| complaint.contains(words));
    assert!(
        found.complaints.iter().any(said),
        "{flaw}: {:#?}",
        found.complaints
    );
    // It is the flaw that is found: the real engine survives the same.
    let sound = World::default().run(&found.schedule).complaints;
    assert_eq!(sound, Vec::<String>::new(), "{flaw}");
    count("flaws-caught", 1);
    found.clone()
}

// By another function that decides.

/// Rule 8 left out: what was perhaps begun is simply done again.
fn reexecuting_blindly(pod: &Pod, facts: &Facts) -> Next {
    match decide(pod, facts) {
        Next::Look(step) if pod.status(step) == Status::Maybe && pod.goal == Goal::Run => {
            let durability = match step {
                Step::ConfigureCni => Durability::Power,
                _ => Durability::Process,
            };
            Next::Climb(step, durability)
        }
        next => next,
    }
}

#[test]
fn an_engine_that_re_executes_blindly_is_caught() {
    let world = World::default().deciding(reexecuting_blindly);
    caught("re-executing blindly", &world, &["made over itself"]);
}

/// Rule 3 left out: a step that says it failed is taken for never begun.
fn believing_failed(pod: &Pod, facts: &Facts) -> Next {
    let mut pod = pod.clone();
    for slot in &mut pod.slots {
        if slot.failure.is_some() {
            slot.status = Status::Never;
        }
    }
    decide(&pod, facts)
}

#[test]
fn an_engine_that_believes_failed_means_nothing_done_is_caught() {
    let world = World::default().deciding(believing_failed);
    caught(
        "believing 'failed'",
        &world,
        &["has no owner", "is left after all"],
    );
}

/// Rule 5 left out: a start that has failed is not known to have.
fn forgetting_failures(pod: &Pod, facts: &Facts) -> Next {
    let mut pod = pod.clone();
    if facts.inherited {
        for slot in &mut pod.slots {
            slot.failure = None;
        }
    }
    decide(&pod, facts)
}

/// The goal of a failed start is not written down.
fn forgetting_goals(_: &mut Vec<Entry>, mut batch: Vec<Entry>) -> Vec<Entry> {
    for entry in &mut batch {
        if let Record::Goal {
            goal,
            cause: Cause::StartFailed { .. },
        } = &mut entry.record
        {
            *goal = Goal::Run;
        }
    }
    batch
}

/// What is done by an undo and not yet recorded is trusted upward then.
#[test]
fn an_engine_that_climbs_again_after_turning_down_is_caught() {
    let world = World::default().deciding(forgetting_failures);
    let world = crooked(world, forgetting_goals);
    let due = ["is not there", "another process", "another namespace"];
    caught("climbing again", &world, &due);
}

/// Rule 1 left out, the half about the platter.
fn nothing_on_the_platter(pod: &Pod, facts: &Facts) -> Next {
    match decide(pod, facts) {
        Next::Climb(step, _) => Next::Climb(step, Durability::Process),
        next => next,
    }
}

#[test]
fn an_engine_whose_intent_is_not_on_the_platter_before_add_is_caught() {
    let world = World::default().deciding(nothing_on_the_platter);
    caught("intent not on the platter", &world, &["ConfigureCni of"]);
}

/// Rule 3 left out on the way down: only what is recorded as done is undone.
fn undoing_only_done(pod: &Pod, facts: &Facts) -> Next {
    let mut pod = pod.clone();
    if pod.goal > Goal::Run {
        for slot in &mut pod.slots {
            if slot.status == Status::Maybe {
                slot.status = Status::Never;
            }
        }
    }
    decide(&pod, facts)
}

#[test]
fn an_engine_that_undoes_only_done_steps_is_caught() {
    let world = World::default().deciding(undoing_only_done);
    let due = ["has no owner", "is left after all", "neither as asked"];
    caught("undoing only Done", &world, &due);
}

/// Rule 7 left out: what could not be undone is not tried again.
fn dropping_debts(pod: &Pod, facts: &Facts) -> Next {
    let mut pod = pod.clone();
    for debt in std::mem::take(&mut pod.debts) {
        if debt.step == Step::ConfigureCni {
            pod.slots[debt.step.rank()].status = Status::Never;
        }
    }
    decide(&pod, facts)
}

#[test]
fn an_engine_that_drops_an_owed_del_is_caught() {
    let world = World::default().deciding(dropping_debts);
    let due = ["has no owner", "is left after all", "neither as asked"];
    caught("dropping an owed DEL", &world, &due);
}

// By a part that does not do what the engine relies on.

/// A rung that kills nobody and waits for nobody, or too late.
struct Deaf<S: StepType> {
    sound: Arc<dyn Rung<Step = S>>,
    late: bool,
}

impl<S: StepType> Rung for Deaf<S> {
    type Step = S;

    fn deadline(&self, pod: &Pod) -> Duration {
        self.sound.deadline(pod)
    }

    fn quiet<'a>(&'a self, _: &'a Pod) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(async { Ok(()) })
    }

    fn probe<'a>(&'a self, pod: &'a Pod, intent: &'a S::Intent) -> BoxFuture<'a, Probe<S::Output>> {
        Box::pin(async move {
            let found = self.sound.probe(pod, intent).await;
            if self.late {
                // What it says comes too late to be asked about.
                let _ = self.sound.quiet(pod).await;
            }
            found
        })
    }

    fn apply<'a>(
        &'a self,
        pod: &'a Pod,
        intent: &'a S::Intent,
    ) -> BoxFuture<'a, Result<S::Output, Failure>> {
        self.sound.apply(pod, intent)
    }

    fn undo<'a>(
        &'a self,
        pod: &'a Pod,
        attachment: Option<u32>,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(async move {
            let undone = self.sound.undo(pod, attachment).await;
            if self.late {
                let _ = self.sound.quiet(pod).await;
            }
            undone
        })
    }
}

fn deaf(late: bool) -> World {
    fn deaf<S: StepType>(sound: Arc<dyn Rung<Step = S>>, late: bool) -> Arc<dyn Rung<Step = S>> {
        Arc::new(Deaf { sound, late })
    }
    World::default().with(move |_, parts| Parts {
        rungs: Rungs {
            create: deaf(parts.rungs.create, late),
            mount_netns: deaf(parts.rungs.mount_netns, late),
            ready_network: deaf(parts.rungs.ready_network, late),
            configure_cni: deaf(parts.rungs.configure_cni, late),
            start: deaf(parts.rungs.start, late),
            attach_late: deaf(parts.rungs.attach_late, late),
        },
        ..parts
    })
}

const STRAYS: [&str; 5] = [
    "has no owner",
    "is left after all",
    "made over itself",
    "another process",
    "is not there",
];

/// Rule 4 left out: nobody is seen gone.
#[test]
fn an_engine_that_does_not_wait_for_an_effect_that_outlived_the_daemon_is_caught() {
    caught("not waiting for strays", &deaf(false), &STRAYS);
}

/// Rule 4 the wrong way round: looked and undone first, killed and seen gone
/// afterwards.
#[test]
fn an_engine_that_looks_before_it_quiets_is_caught() {
    caught("quieting too late", &deaf(true), &STRAYS);
}

/// What a crooked journal writes of a batch; it can keep some of it for later.
type Hand = fn(&mut Vec<Entry>, Vec<Entry>) -> Vec<Entry>;

/// A journal that does not write what it is given.
struct Crooked {
    node: Node,
    hand: Hand,
    kept: Mutex<Vec<Entry>>,
    forgets_graves: bool,
}

fn crooked(world: World, hand: Hand) -> World {
    world.with(move |node, parts| Parts {
        journal: Arc::new(Crooked {
            node: node.clone(),
            hand,
            kept: Mutex::default(),
            forgets_graves: false,
        }),
        ..parts
    })
}

/// Rule 6 left out: whoever is gone is gone, whatever the disk has forgotten.
#[test]
fn an_engine_that_runs_no_del_again_after_a_power_loss_is_caught() {
    let world = World::default().with(|node, parts| Parts {
        journal: Arc::new(Crooked {
            node: node.clone(),
            hand: |_, batch| batch,
            kept: Mutex::default(),
            forgets_graves: true,
        }),
        ..parts
    });
    caught("forgetting the dead", &world, &["has no owner"]);
}

impl Journal for Crooked {
    fn append(
        &self,
        batch: Vec<Entry>,
        durability: Durability,
    ) -> BoxFuture<'_, Result<(), JournalError>> {
        let mut kept = self.kept.lock().expect("not poisoned");
        let written = (self.hand)(&mut kept, batch);
        match written.is_empty() {
            true => Box::pin(async { Ok(()) }),
            false => self.node.journal.append(written, durability),
        }
    }

    fn replay(&self) -> BoxFuture<'_, Result<Replay, JournalError>> {
        Box::pin(async {
            let mut replay = self.node.journal.replay().await?;
            if self.forgets_graves {
                replay.obituaries.clear();
            }
            Ok(replay)
        })
    }

    fn read(&self, pod: PodId) -> BoxFuture<'_, Result<Vec<Entry>, JournalError>> {
        self.node.journal.read(pod)
    }

    fn compact(&self, snapshot: Entry) -> BoxFuture<'_, Result<(), JournalError>> {
        self.node.journal.compact(snapshot)
    }

    fn bury(&self, obituary: Obituary) -> BoxFuture<'_, Result<(), JournalError>> {
        self.node.journal.bury(obituary)
    }

    fn admits(&self) -> Result<(), JournalError> {
        self.node.journal.admits()
    }

    fn epoch(&self) -> u64 {
        self.node.journal.epoch()
    }
}

/// Rule 1 left out: an intent is acknowledged, and written with what comes next.
fn writing_intents_later(kept: &mut Vec<Entry>, batch: Vec<Entry>) -> Vec<Entry> {
    let mut due = std::mem::take(kept);
    due.extend(batch);
    let is_intent = |entry: &Entry| matches!(entry.record, Record::Intent(_));
    let first = due
        .iter()
        .position(|entry| is_intent(entry) && entry.sequence > 1);
    if let Some(first) = first {
        *kept = due.split_off(first);
    }
    due
}

#[test]
fn an_engine_whose_effects_come_before_their_intents_is_caught() {
    let world = crooked(World::default(), writing_intents_later);
    let due = ["no durable intent", "has no owner"];
    caught("effect before intent", &world, &due);
}

/// A clock that does not know that the machine was booted anew.
struct Timeless(SimClock);

impl Clock for Timeless {
    fn now(&self) -> Stamp {
        Stamp {
            boot: BootId([1; 16]),
            ..self.0.now()
        }
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.0.sleep(duration)
    }
}

#[test]
fn an_engine_that_trusts_an_old_boot_id_is_caught() {
    let world = World::default().with(|node, parts| Parts {
        clock: Arc::new(Timeless(node.clock.clone())),
        ..parts
    });
    let due = ["is not there", "another namespace", "of 0"];
    caught("trusting an old boot id", &world, &due);
}
