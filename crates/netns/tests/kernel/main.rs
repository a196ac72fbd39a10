//! What needs root and a kernel: each test runs in a node of its own, and the host is not touched.
//!
//! `node` opens one (private mounts, network, pids, ipc and host name) by running the test's own
//! binary again inside it. Without root the tests say that they were skipped, and fail where the
//! variable `CI` is set.

#[cfg(test)]
mod daemon;
#[cfg(test)]
mod effects;
#[cfg(test)]
mod files;
#[cfg(test)]
mod links;
#[cfg(test)]
mod mounts;
#[cfg(test)]
mod node;
#[cfg(test)]
mod owners;
#[cfg(test)]
mod points;
#[cfg(test)]
mod processes;
#[cfg(test)]
mod threads;
