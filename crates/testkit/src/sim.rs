//! A machine in memory: its host, its journal, its clock, and the ways in which
//! it fails.
//!
//! 1. A [`Node`] holds what outlives a daemon: the [`SimHost`], the
//!    [`CrashJournal`], the [`SimClock`]. [`Node::open`] starts a daemon on it:
//!    the engine's own code over [rungs] that change the host.
//! 2. Everything runs on one thread, in an order that depends on nothing but
//!    the [`Executor`]'s seed. Time passes only when nobody has anything else
//!    to do, and then straight to the next timer.
//! 3. Wherever a crash would leave something different behind, the journal and
//!    the rungs pass a [point](Points). Points are counted; a crash is asked
//!    for by number, so that a first run finds all places and the next ones
//!    die at each of them.
//! 4. An effect is a list of small changes. One whose daemon has died, or whose
//!    deadline has passed, is not over: its other changes happen later, unless
//!    it is quieted first.
//! 5. [`oracle`] compares the host with the journal: nothing without an owner,
//!    no owner without its thing.
//! 6. A [`Schedule`] writes a run down, a [`World`] carries it out, and explores
//!    all that are like it.
//!
//! Nothing here is special to Podwalk's own rungs: a journal or a rung of an
//! embedder's own can be put in the place of ours. What cannot be written as a
//! schedule is done by hand:
//!
//! ```
//! use podwalk_testkit::sim::{Crash, Ended, Node, Setup, oracle, pod_id, pod_spec};
//!
//! let node = Node::new(Setup::default());
//! let (engine, _) = node.boot().answer();
//! let start = node.ask(async move { engine.start(pod_id(1), pod_spec("web")).await });
//! node.arm(Some(20)); // somewhere in the walk
//! assert!(matches!(node.wait_for(&start), Ended::Crashed));
//! node.crash(Crash::Kill { strays: true });
//!
//! let (engine, _) = node.boot().answer();
//! node.host.let_strays_finish();
//! assert_eq!(oracle::complaints(&node, &engine), Vec::<String>::new());
//! ```

mod audience;
mod claims;
mod clock;
mod executor;
mod explore;
mod faults;
mod host;
mod journal;
mod node;
pub mod oracle;
mod points;
mod print;
mod run;
pub mod rungs;
mod sample;
mod schedule;
mod shrink;
mod world;

pub use clock::SimClock;
pub use executor::Executor;
pub use explore::{Refuted, Share, Survey};
pub use faults::{Fault, Faults, Mishap, Site};
pub use host::{Change, SimHost, Thing};
pub use journal::{CrashJournal, Mortal, Refusal};
pub use node::{Asked, Crash, Ended, Node, Setup, pod_id, pod_spec};
pub use points::{Passing, Point, Points, Progress};
pub use run::Run;
pub use rungs::Ground;
pub use schedule::{Call, Client, Death, Mode, Request, Schedule};
pub use shrink::Counterexample;
pub use world::World;
