//! Every place at which a run can die, and then every place at which its
//! recovery can.
//!
//! 1. A first run of the script, without a crash, counts the points.
//! 2. One run per point and kind of crash; each counts the points of its
//!    recovery, and what a power loss could have taken.
//! 3. One run per point of that recovery, and so on, as deep as asked for.
//! 4. At the end of each run the machine is at rest. The [oracle](super::oracle)
//!    is heard; every call that was answered must have told the truth; then
//!    every pod is removed, and nothing may be left.

use std::collections::BTreeMap;

use podwalk_engine::engine::{Engine, EngineError};
use podwalk_engine::id::PodId;
use podwalk_engine::record::Goal;
use podwalk_engine::spec::PodSpec;

use crate::sim::node::pod_id;
use crate::sim::{Crash, Ended, Fault, Node, Setup, oracle};

/// What a client asks for, one call after the other.
#[derive(Debug, Clone)]
pub struct Script {
    /// The machine.
    pub setup: Setup,
    /// What goes wrong in the first life.
    pub faults: Vec<Fault>,
    /// The pod.
    pub spec: PodSpec,
    /// The calls.
    pub calls: Vec<Call>,
}

/// One call, about the one pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Start it.
    Start,
    /// Stop it.
    Stop,
    /// Remove it.
    Remove,
}

/// One death: at which point of a life, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Death {
    /// Which point, from one.
    pub point: u64,
    /// How.
    pub crash: Crash,
}

/// What an exploration has come to.
#[derive(Debug, Default)]
pub struct Survey {
    /// How many runs there were.
    pub runs: u64,
    /// How many points the run without a crash passes.
    pub points: u64,
    /// How often each point was passed.
    pub reached: BTreeMap<String, u64>,
    /// What was wrong, each with the schedule that leads there.
    pub found: Vec<(Vec<Death>, Vec<String>)>,
}

/// What one run has come to.
struct Run {
    /// Points of its last life, up to the end of its recovery or script.
    points: u64,
    /// What a power loss could have taken at the last crash.
    unsynced: usize,
    complaints: Vec<String>,
    reached: BTreeMap<String, u64>,
}

/// Explores a script with up to `depth` crashes. Ends early once something was
/// found that is wrong.
pub fn explore(script: &Script, depth: usize) -> Survey {
    explore_part(script, depth, 0, 1)
}

/// Explores one of so many `parts` of the same work: the runs whose first
/// crash is at every `parts`-th point.
pub fn explore_part(script: &Script, depth: usize, part: u64, parts: u64) -> Survey {
    let mut survey = Survey::default();
    let first = survey.count(script, &[]);
    survey.points = first.points;
    let points = (1..=first.points).filter(|point| point % parts == part);
    deeper(&mut survey, script, &mut Vec::new(), points, depth);
    survey
}

/// How many findings are enough.
const ENOUGH: usize = 5;

fn deeper(
    survey: &mut Survey,
    script: &Script,
    deaths: &mut Vec<Death>,
    points: impl Iterator<Item = u64>,
    depth: usize,
) {
    if depth == 0 {
        return;
    }
    for point in points {
        let mut kinds = vec![
            Crash::Kill { strays: true },
            Crash::Kill { strays: false },
            power(0, false),
            power(0, true),
        ];
        while let Some(crash) = kinds.pop() {
            if survey.found.len() >= ENOUGH {
                return;
            }
            deaths.push(Death { point, crash });
            let run = survey.count(script, deaths);
            if crash == power(0, false) {
                // What was not on the platter may be there, up to any moment.
                kinds.extend((1..=run.unsynced).map(|kept| power(kept, true)));
            }
            let points: Box<dyn Iterator<Item = u64>> = Box::new(1..=run.points);
            deeper(survey, script, deaths, points, depth - 1);
            deaths.pop();
        }
    }
}

fn power(kept: usize, disk_lost: bool) -> Crash {
    Crash::Power { kept, disk_lost }
}

impl Survey {
    fn count(&mut self, script: &Script, deaths: &[Death]) -> Run {
        let run = run(script, deaths);
        self.runs += 1;
        for (point, times) in &run.reached {
            match self.reached.get_mut(point) {
                Some(known) => *known += times,
                None => drop(self.reached.insert(point.clone(), *times)),
            }
        }
        if !run.complaints.is_empty() {
            self.found.push((deaths.to_vec(), run.complaints.clone()));
        }
        run
    }
}

/// What the client knows.
#[derive(Debug, Default)]
struct Client {
    /// The last call that was made.
    asked: Option<Call>,
    /// Its answer, if there was one.
    answer: Option<Result<(), EngineError>>,
    /// The machine was booted anew since.
    rebooted: bool,
}

fn run(script: &Script, deaths: &[Death]) -> Run {
    let node = Node::new(script.setup);
    let mut client = Client::default();
    let mut unsynced = 0;
    for fault in &script.faults {
        node.faults.add(fault.clone());
    }
    for (life, death) in deaths.iter().enumerate() {
        node.arm(Some(death.point));
        let ended = live(&node, script, life, &mut client);
        if !matches!(ended, Ended::Crashed) {
            let complaint = format!("life {life} did not die at point {}", death.point);
            return over(&node, unsynced, 0, vec![complaint]);
        }
        unsynced = node.journal.unsynced();
        node.crash(death.crash);
        node.faults.mend();
        client.rebooted |= matches!(death.crash, Crash::Power { .. });
    }
    node.arm(None);
    let engine = match live(&node, script, deaths.len(), &mut client) {
        Ended::Answered(engine) => engine,
        Ended::Crashed | Ended::Stuck => {
            let complaint = "the last life came to no end".to_owned();
            return over(&node, unsynced, 0, vec![complaint]);
        }
    };
    let points = node.points.passed();
    let complaints = judge(&node, &engine, script, &client);
    over(&node, unsynced, points, complaints)
}

fn over(node: &Node, unsynced: usize, points: u64, complaints: Vec<String>) -> Run {
    Run {
        points,
        unsynced,
        complaints,
        reached: node.points.reached(),
    }
}

/// One life: the first one carries the script out, later ones recover.
fn live(node: &Node, script: &Script, life: usize, client: &mut Client) -> Ended<Engine> {
    let engine = match node.boot() {
        Ended::Answered((engine, _)) => engine,
        Ended::Crashed => return Ended::Crashed,
        Ended::Stuck => return Ended::Stuck,
    };
    if life > 0 {
        return Ended::Answered(engine);
    }
    for call in &script.calls {
        client.asked = Some(*call);
        client.answer = None;
        match node.run(make(engine.clone(), *call, script.spec.clone())) {
            Ended::Answered(answer) => client.hear(node, *call, answer),
            Ended::Crashed => return Ended::Crashed,
            Ended::Stuck => return Ended::Stuck,
        }
    }
    Ended::Answered(engine)
}

impl Client {
    fn hear(&mut self, node: &Node, call: Call, answer: Result<(), EngineError>) {
        if answer.is_ok() && node.journal.unsynced() > 0 {
            node.host
                .blame(format!("{call:?} was answered before the platter had it"));
        }
        self.answer = Some(answer);
    }
}

async fn make(engine: Engine, call: Call, spec: PodSpec) -> Result<(), EngineError> {
    match call {
        Call::Start => engine.start(pod_id(1), spec).await.map(drop),
        Call::Stop | Call::Remove => end(engine, call, pod_id(1)).await,
    }
}

async fn end(engine: Engine, call: Call, id: PodId) -> Result<(), EngineError> {
    match call {
        Call::Stop => engine.stop(id).await,
        _ => engine.remove(id).await,
    }
}

fn judge(node: &Node, engine: &Engine, script: &Script, client: &Client) -> Vec<String> {
    // What outlived the daemon has had its time now.
    node.host.let_strays_finish();
    let mut complaints = oracle::complaints(node, engine);
    complaints.extend(lies(engine, client));
    complaints.extend(remove_all(node, engine));
    if !script.faults.is_empty() {
        node.faults.mend();
    }
    complaints
}

/// Answers that are not true, or not true any more.
fn lies(engine: &Engine, client: &Client) -> Option<String> {
    let (Some(asked), Some(Ok(()))) = (client.asked, &client.answer) else {
        return None;
    };
    let view = engine.get(pod_id(1));
    let goal = view.as_ref().map(|view| view.pod.goal);
    let true_still = match (asked, &view) {
        (Call::Start, Some(view)) if client.rebooted => {
            goal == Some(Goal::Stop) && oracle::is_down(&view.pod)
        }
        (Call::Start, Some(view)) => view.ready,
        (Call::Stop, Some(view)) => goal == Some(Goal::Stop) && oracle::is_down(&view.pod),
        (Call::Remove, None) => true,
        (Call::Start | Call::Stop, None) | (Call::Remove, Some(_)) => false,
    };
    (!true_still).then(|| format!("{asked:?} was answered, and the pod is {view:?}"))
}

/// A client gives everything up; nothing may be left.
fn remove_all(node: &Node, engine: &Engine) -> Vec<String> {
    let mut complaints = Vec::new();
    for view in engine.list() {
        for call in [Call::Stop, Call::Remove] {
            let id = view.pod.id;
            let end = node.run(end(engine.clone(), call, id));
            let gone = Err(EngineError::NoSuchPod { id });
            if end != Ended::Answered(Ok(())) && end != Ended::Answered(gone) {
                complaints.push(format!("{call:?} of {id} came to {end:?}"));
            }
        }
    }
    for (id, thing) in node.host.things() {
        complaints.push(format!("{thing:?} of {id} is left after all"));
    }
    for (id, _) in node.journal.contents().pods {
        complaints.push(format!("records of {id} are left after all"));
    }
    complaints
}
