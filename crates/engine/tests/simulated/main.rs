//! The engine's own code on a simulated machine (see `podwalk_testkit::sim`).

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)] // a test says so by panicking

use podwalk_engine::engine::{Engine, EngineError, PodView, Started};
use podwalk_engine::id::PodId;
use podwalk_engine::spec::PodSpec;
use podwalk_testkit::sim::{Asked, Node, Setup, oracle, pod_id, pod_spec};

mod admission;
mod debts;
mod disk;
mod events;
mod late;
mod moments;
mod recovery;
mod several;
mod shutdown;
mod typed;
mod walks;

/// A machine with its daemon up.
fn running(setup: Setup) -> (Node, Engine) {
    let node = Node::new(setup);
    let (engine, report) = node.boot().answer();
    assert_eq!(report, Default::default(), "a fresh machine has no pods");
    (node, engine)
}

fn ask_start(
    node: &Node,
    engine: &Engine,
    id: PodId,
    spec: PodSpec,
) -> Asked<Result<Started, EngineError>> {
    let engine = engine.clone();
    node.ask(async move { engine.start(id, spec).await })
}

#[track_caller]
fn start(node: &Node, engine: &Engine, id: PodId, spec: PodSpec) -> Result<Started, EngineError> {
    let asked = ask_start(node, engine, id, spec);
    node.wait_for(&asked).answer()
}

/// Starts pod 1, named web, which must work.
#[track_caller]
fn start_web(node: &Node, engine: &Engine) -> PodId {
    let started = start(node, engine, pod_id(1), pod_spec("web")).unwrap();
    assert_eq!(
        started,
        Started {
            id: pod_id(1),
            joined: false
        }
    );
    started.id
}

#[track_caller]
fn stop(node: &Node, engine: &Engine, id: PodId) -> Result<(), EngineError> {
    let engine = engine.clone();
    node.run(async move { engine.stop(id).await }).answer()
}

#[track_caller]
fn remove(node: &Node, engine: &Engine, id: PodId) -> Result<(), EngineError> {
    let engine = engine.clone();
    node.run(async move { engine.remove(id).await }).answer()
}

#[track_caller]
fn view(engine: &Engine, id: PodId) -> PodView {
    let view = engine.get(id);
    view.unwrap_or_else(|| panic!("no pod {id}"))
}

/// Whether clients that count pods see it.
fn is_listed(engine: &Engine, id: PodId) -> bool {
    engine.get(id).is_some_and(|view| view.pod.is_listed())
}

#[track_caller]
fn nothing_wrong(node: &Node, engine: &Engine) {
    let complaints = oracle::complaints(node, engine);
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[track_caller]
fn nothing_left(node: &Node, engine: &Engine) {
    nothing_wrong(node, engine);
    assert_eq!(node.host.things(), [], "something is left on the host");
    assert!(node.journal.contents().pods.is_empty());
    assert!(engine.list().is_empty());
}
