//! What needs root, a kernel and real runtimes. Each test runs itself again in a node, a set of
//! namespaces of its own, where `PODWALK_OCI_NODE` is set.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what it expects by panicking"
)]

#[macro_use]
mod node;

mod crash;
mod isolation;
mod sandbox;
mod seen;
mod shim;
