//! What must hold whenever a machine has come to rest.
//!
//! The leak oracle: nothing on the host without an owner that knows of it, and
//! no owner that believes in something that is not there. The liveness oracle:
//! every pod has ended as asked, or its debt is visible.

use std::collections::BTreeMap;

use podwalk_engine::engine::Engine;
use podwalk_engine::pod::{Pod, Status};
use podwalk_engine::record::{Goal, PlannedAttachment};
use podwalk_engine::step::{NetworkMode, Step};

use crate::sim::{Node, Thing};

/// All that is wrong with a machine at rest, in words; empty if nothing is.
pub fn complaints(node: &Node, engine: &Engine) -> Vec<String> {
    let mut complaints = node.host.wrong();
    complaints.extend(node.journal.broken());
    complaints.extend(leaks(node, engine));
    for view in engine.list() {
        complaints.extend(missing(node, &view.pod));
    }
    complaints.extend(stalled(engine));
    complaints.extend(doubles(node, engine));
    let quarantined = engine.quarantined().into_iter();
    complaints.extend(quarantined.map(|(pod, why)| format!("{pod} is quarantined: {why}")));
    complaints
}

/// Keys with more than one pod whose goal is to run and whose sandbox lives
/// (design, section 3, rule 11).
fn doubles(node: &Node, engine: &Engine) -> Vec<String> {
    let mut running = BTreeMap::new();
    for view in engine.list() {
        let pod = &view.pod;
        if pod.goal == Goal::Run && node.host.process(pod.id).is_some() {
            *running.entry(pod.spec.key().to_string()).or_insert(0) += 1;
        }
    }
    let doubles = running.into_iter().filter(|(_, pods)| *pods > 1);
    doubles
        .map(|(key, pods)| format!("{pods} pods run as {key}"))
        .collect()
}

/// Things on the host that nobody owns.
pub fn leaks(node: &Node, engine: &Engine) -> Vec<String> {
    let things = node.host.things().into_iter();
    let leaked = things.filter(|(id, thing)| match engine.get(*id) {
        None => true,
        Some(view) => !owns(&view.pod, *thing),
    });
    leaked
        .map(|(id, thing)| format!("{thing:?} of {id} has no owner"))
        .collect()
}

fn owns(pod: &Pod, thing: Thing) -> bool {
    let knows = |step| pod.status(step) != Status::Never;
    match thing {
        // `lo` goes with its namespace.
        Thing::Loopback => knows(Step::ReadyNetwork) || knows(Step::MountNetns),
        Thing::Address(number) | Thing::Interface(number) => {
            let status = pod.attachments.get(number as usize);
            attached_by(pod, number).is_some_and(knows)
                && status.is_some_and(|status| !status.released)
        }
        other => knows(other.step()),
    }
}

/// Whose step attaches the network of this number.
fn attached_by(pod: &Pod, number: u32) -> Option<Step> {
    let planned = pod.plan.get(number as usize);
    planned.map(PlannedAttachment::step)
}

/// Things that a pod believes in and that are not there.
fn missing(node: &Node, pod: &Pod) -> Vec<String> {
    let mut missing = Vec::new();
    // What an undo that failed has left of it, nobody knows.
    let owes = |step: Step| pod.debts.iter().any(|debt| debt.step == step);
    let stands = |step: Step| pod.status(step) == Status::Done && !owes(step);
    let mut expect = |step: Step, thing: Thing| {
        if stands(step) && !node.host.has(pod.id, thing) {
            missing.push(format!("{thing:?} of {} is not there", pod.id));
        }
    };
    if pod.sandbox_key.is_some() {
        expect(Step::Create, Thing::File);
        expect(Step::MountNetns, Thing::Mount);
        expect(Step::ReadyNetwork, Thing::Loopback);
    }
    for (number, planned) in (0..).zip(&pod.plan) {
        expect(planned.step(), Thing::Address(number));
        expect(planned.step(), Thing::Interface(number));
    }
    expect(Step::Start, Thing::RuntimeState);
    if pod.exited.is_none() {
        expect(Step::Start, Thing::Sandbox);
    }
    let ladder = pod.ladder();
    let own = node.world.own().iter();
    for thing in own.filter(|thing| ladder.contains(&thing.step())) {
        expect(thing.step(), *thing);
    }
    if stands(Step::MountNetns) && pod.namespace != node.host.namespace(pod.id) {
        missing.push(format!("{} has another namespace than recorded", pod.id));
    }
    let recorded = pod.sandbox.as_ref().map(|sandbox| sandbox.process);
    if stands(Step::Start) && pod.exited.is_none() && recorded != node.host.process(pod.id) {
        missing.push(format!("{} has another process than recorded", pod.id));
    }
    missing
}

/// Pods that are neither as asked nor owe.
pub fn stalled(engine: &Engine) -> Vec<String> {
    let pods = engine.list().into_iter();
    pods.filter_map(|view| stalls(&view.pod)).collect()
}

fn stalls(pod: &Pod) -> Option<String> {
    let top = pod.ladder().last().copied();
    let done = top.is_some_and(|top| pod.status(top) == Status::Done);
    let as_asked = match pod.goal {
        Goal::Run => done && !pod.restarting,
        Goal::Stop => pod.is_down(),
        Goal::Remove => false,
    };
    let stalled = !as_asked && pod.debts.is_empty();
    if is_kept_alive(pod) {
        return Some(format!(
            "the sandbox of {} lives on, and it is another step that owes: {}",
            pod.id,
            brief(pod)
        ));
    }
    stalled.then(|| format!("{} is neither as asked nor owes: {}", pod.id, brief(pod)))
}

/// Whether a pod that was asked to end has not come to the end of its sandbox,
/// and that is not what it owes (design, section 3, rule 7).
fn is_kept_alive(pod: &Pod) -> bool {
    let ends = pod.goal > Goal::Run && pod.status(Step::Start) != Status::Never;
    let owes_it = pod.debts.iter().any(|debt| debt.step == Step::Start);
    ends && !owes_it && !pod.debts.is_empty()
}

/// A pod in a line: its goal, and how each step stands.
pub fn brief(pod: &Pod) -> String {
    let steps = pod.ladder().iter();
    let steps: Vec<String> = steps
        .map(|step| format!("{step} {:?}", pod.status(*step)))
        .collect();
    format!(
        "goal {:?}, {}, {} debts",
        pod.goal,
        steps.join(", "),
        pod.debts.len()
    )
}

/// The things of a pod that runs.
pub fn of_a_running_pod(mode: &NetworkMode, attachments: u32) -> Vec<Thing> {
    let mut things = Vec::new();
    if mode.has_own_namespace() {
        things.extend([Thing::File, Thing::Mount, Thing::Loopback]);
    }
    if *mode == NetworkMode::Cni {
        things.extend((0..attachments).map(Thing::Address));
        things.extend((0..attachments).map(Thing::Interface));
    }
    things.extend([Thing::RuntimeState, Thing::Sandbox]);
    things
}

#[cfg(test)]
mod tests;
