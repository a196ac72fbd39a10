//! The pure core of Podwalk: what a pod is, what its journal says, and what
//! comes next.
//!
//! A pod walks along a line, Created → NetnsMounted → NetworkReady →
//! CniConfigured → Started, and down again in strict reverse order. A pod whose
//! network plan has late attachments takes one more step, AttachLate, before it
//! is Started. Every step is in a journal before it happens, so that whoever
//! comes after a crash knows exactly what may be there. It goes like this:
//!
//! 1. [`record`] has the words: a goal, an intent before each effect, its end
//!    after it, and facts that nobody asked for.
//! 2. [`pod`] folds a pod's records into what is known of it. The same fold
//!    serves a live walk and a replay; each step is Never, Maybe or Done.
//! 3. [`decide`](mod@decide) is the one function that chooses a transition. It
//!    is pure and total; its whole table is a snapshot beside it.
//! 4. [`engine`] drives: decide, act through a port, record, fold. A live
//!    start, a client's retry, a stop in the middle of ADD and a restart all end
//!    in that one loop.
//! 5. [`recovery`] plans first: a pure value that `podwalk plan` prints and the
//!    engine carries out.
//! 6. [`ports`] is what the world must give: a [`Journal`](ports::Journal), one
//!    [`Rung`](ports::Rung) per step ([`rungs`]), a [`Clock`](ports::Clock) and
//!    an executor ([`Spawn`](ports::Spawn)).
//! 7. [`typed`] is for embedders who take the steps one by one: an illegal one
//!    does not compile.
//!
//! What holds, whatever happens:
//!
//! - **A record outlives its effect.** An intent is as durable as what it is
//!   about before the effect begins; no success is told before its record is on
//!   the platter.
//! - **Maybe is undone too.** An effect that failed, or whose end nobody knows,
//!   leaves its step Maybe, and what may be there is taken down.
//! - **Nothing is looked at or undone while it may still go on.** What is left
//!   of an effect is killed and seen gone first.
//! - **Goals only go up**, Run < Stop < Remove, and a walk turns down only after
//!   a goal that says so.
//! - **A sandbox never lives on for a network's sake.** The one exception to the
//!   reverse order: when a late attachment cannot be let go, the sandbox beside it
//!   is ended all the same, and no debt is answered for before.
//! - **What could not be undone is owed**, shown, tried again, and never ends
//!   silently.
//!
//! What is absent, on purpose: there is no clock, no file, no descriptor, no
//! randomness, no thread and no executor in here. Time is handed in with every
//! decision; ids are the caller's.

#![forbid(unsafe_code)]

pub mod clock;
pub mod decide;
pub mod engine;
pub mod error;
pub mod event;
#[cfg(test)]
mod fixture;
pub mod id;
pub mod plan;
pub mod pod;
pub mod ports;
pub mod record;
pub mod recovery;
pub mod rungs;
pub mod spec;
pub mod step;
pub mod typed;

pub use engine::{Engine, EngineConfig, EngineError, Parts};
pub use id::PodId;
pub use spec::PodSpec;
