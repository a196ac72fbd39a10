//! What Podwalk is tested with, for those who write a part of it themselves.
//!
//! An engine that promises to leak nothing must be shown to keep the promise at
//! every moment at which it can die. That takes a machine that dies on demand,
//! and somebody who looks at what is left. Two such things are here.
//!
//! **[`sim`]: a machine in memory.** The engine's own code walks pods on it;
//! only the world below is made up.
//!
//! 1. A [`World`](sim::World) says what is proved: the engine over the harness's
//!    own rungs and journal, or over yours.
//! 2. A [`Schedule`](sim::Schedule) writes one run down: what clients ask for,
//!    what is asked for besides and at which moment, what goes wrong, and where
//!    each life of the daemon ends, by SIGKILL or by a power loss. Effects that
//!    were under way go on without their daemon unless they are quieted.
//! 3. [`World::crashes`](sim::World::crashes) dies at every point of a schedule,
//!    and then at every point of each recovery;
//!    [`World::requests`](sim::World::requests) asks for something at every
//!    moment; [`World::sample`](sim::World::sample) draws what cannot be
//!    enumerated.
//! 4. At the end of each run the machine is at rest, and an [oracle](sim::oracle)
//!    says what is wrong: things without an owner, owners without their things,
//!    pods that are neither as asked nor owe, answers that are not the truth.
//! 5. What is found is shrunk, and printed as a test that can be pasted. A
//!    [`Survey`](sim::Survey) that never reached a point proves nothing, and
//!    says so.
//!
//! What is proved of a rung here is its plan: which changes it makes, in which
//! order, what its look tells apart. The rung that really makes them is held to
//! the same promises by [`conformance`].
//!
//! Here is a rung of an embedder's own, which makes a table that counts a pod's
//! bytes, and its proof.
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//!
//! use podwalk_engine::engine::Parts;
//! use podwalk_engine::error::StepError;
//! use podwalk_engine::pod::Pod;
//! use podwalk_engine::ports::{BoxFuture, Failure, Probe, ReadyNetwork, Rung};
//! use podwalk_engine::record::{ReadyNetworkIntent, ReadyNetworkOutput};
//! use podwalk_engine::rungs::Rungs;
//! use podwalk_engine::step::{Lifetime, NetworkMode, Step};
//! use podwalk_testkit::sim::{Change, Ground, Schedule, Share, Thing, World};
//!
//! const STEP: Step = Step::ReadyNetwork;
//! const METER: Thing = Thing::Own {
//!     step: STEP,
//!     name: "meter",
//!     lifetime: Lifetime::UntilReboot,
//! };
//!
//! struct Metered(Ground);
//!
//! impl Metered {
//!     fn output(&self, pod: &Pod) -> ReadyNetworkOutput {
//!         ReadyNetworkOutput { plan: self.0.plan(pod) }
//!     }
//! }
//!
//! impl Rung for Metered {
//!     type Step = ReadyNetwork;
//!
//!     fn deadline(&self, _: &Pod) -> Duration {
//!         Duration::from_secs(5)
//!     }
//!
//!     fn quiet<'a>(&'a self, pod: &'a Pod) -> BoxFuture<'a, Result<(), StepError>> {
//!         Box::pin(self.0.quiet(pod, STEP))
//!     }
//!
//!     fn probe<'a>(
//!         &'a self,
//!         pod: &'a Pod,
//!         _: &'a ReadyNetworkIntent,
//!     ) -> BoxFuture<'a, Probe<ReadyNetworkOutput>> {
//!         let has = |thing| self.0.host.has(pod.id, thing);
//!         let look = move || match (has(Thing::Loopback), has(METER)) {
//!             (true, true) => Probe::Complete(self.output(pod)),
//!             (false, false) => Probe::Absent,
//!             _ => Probe::Partial,
//!         };
//!         Box::pin(self.0.probe(pod, STEP, look))
//!     }
//!
//!     fn apply<'a>(
//!         &'a self,
//!         pod: &'a Pod,
//!         _: &'a ReadyNetworkIntent,
//!     ) -> BoxFuture<'a, Result<ReadyNetworkOutput, Failure>> {
//!         Box::pin(async move {
//!             let changes = [Change::Make(Thing::Loopback), Change::Make(METER)];
//!             self.0.apply(pod, STEP, &changes).await?;
//!             Ok(self.output(pod))
//!         })
//!     }
//!
//!     fn undo<'a>(&'a self, pod: &'a Pod, _: Option<u32>) -> BoxFuture<'a, Result<(), StepError>> {
//!         Box::pin(async move { self.0.undo(pod, STEP, &[Change::Take(METER)]).await })
//!     }
//! }
//!
//! let world = World::default()
//!     .with(|node, parts| {
//!         let ready_network = Arc::new(Metered(node.ground()));
//!         Parts { rungs: Rungs { ready_network, ..parts.rungs }, ..parts }
//!     })
//!     .expecting(METER);
//! let survey = world.crashes(&Schedule::up_and_down(), 1, Share::ALL);
//! survey.verdict(NetworkMode::Cni.ladder()).unwrap_or_else(|refuted| panic!("{refuted}"));
//! ```
//!
//! **[`conformance`]: what the engine relies on in a rung or a journal**, as
//! tests that an embedder runs on parts of his own.
//!
//! **[`scripted_plugin`]: a CNI plugin that does as it is told**, and
//! **[`scripted_shim`]: a shim that does**, for tests that run real processes; and
//! [`lines`], by which a file is read that such a process still writes.
//!
//! What holds throughout: the same seed gives the same run; a crash happens
//! between two changes to the host and never within one; what the oracle
//! compares is what is there, never what somebody says is there.

#![forbid(unsafe_code)]

pub mod conformance;
pub mod lines;
pub mod scripted_plugin;
pub mod scripted_shim;
pub mod sim;
