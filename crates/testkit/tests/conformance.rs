//! The rules of rungs and journals: kept by ours, and each one caught where it is broken.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "what is not as expected fails the test")]

#[path = "conformance/journals.rs"]
mod journals;
#[path = "conformance/rungs.rs"]
mod rungs;
#[path = "conformance/shelf.rs"]
mod shelf;
#[path = "conformance/simulated.rs"]
mod simulated;
