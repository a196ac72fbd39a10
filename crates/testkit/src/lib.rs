//! What Podwalk is tested with, for those who write a part of it themselves.
//!
//! An engine that promises to leak nothing must be shown to keep the promise at
//! every moment at which it can die. That takes a machine that dies on demand,
//! and somebody who looks at what is left. Two such things are here.
//!
//! **[`sim`]: a machine in memory.** The engine's own code walks pods on it;
//! only the world below is made up.
//!
//! 1. Make a [`sim::Node`]. It holds what outlives a daemon: a host, a journal,
//!    a clock.
//! 2. Boot it, and ask the engine that you get for pods. Time stands still
//!    while anybody can act, and then goes on to the next timer, so that no
//!    test waits and every run is the same.
//! 3. Let something go wrong: [`sim::Faults`] for effects that fail, hang, or
//!    lose their answer, [`sim::Refusal`] for a journal without space,
//!    [`sim::Crash`] for SIGKILL and for a power loss. Effects that were under
//!    way go on without their daemon unless they are quieted.
//! 4. Boot it again, and ask [`sim::oracle`] what is wrong with it.
//! 5. [`sim::explore`] does all of this at every point of a script, and then
//!    again at every point of each recovery; its counters say which points were
//!    ever reached, for a test that reaches nothing proves nothing.
//!
//! ```
//! use podwalk_testkit::sim::{Crash, Node, Setup, oracle, pod_id, pod_spec};
//!
//! let node = Node::new(Setup::default());
//! let (engine, _) = node.boot().answer();
//! let start = node.ask(async move { engine.start(pod_id(1), pod_spec("web")).await });
//! node.arm(Some(20)); // somewhere in the walk
//! assert!(matches!(node.wait_for(&start), podwalk_testkit::sim::Ended::Crashed));
//! node.crash(Crash::Kill { strays: true });
//!
//! let (engine, _) = node.boot().answer();
//! node.host.let_strays_finish();
//! assert_eq!(oracle::complaints(&node, &engine), Vec::<String>::new());
//! ```
//!
//! **[`conformance`]: what the engine relies on in a rung or a journal**, as
//! tests that an embedder runs on parts of his own.
//!
//! **[`scripted_plugin`]: a CNI plugin that does as it is told**, for tests
//! that run real processes.
//!
//! What holds throughout: the same seed gives the same run; a crash happens
//! between two changes to the host and never within one; what the oracle
//! compares is what is there, never what somebody says is there.

#![forbid(unsafe_code)]

pub mod conformance;
pub mod scripted_plugin;
pub mod sim;
