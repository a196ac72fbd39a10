//! The end-to-end tests of Podwalk, and the three tools that they stand on.
//!
//! A test of the whole daemon changes a kernel: it mounts, makes interfaces, writes firewall rules
//! and starts processes. None of that may reach the machine the tests run on, and none of it may be
//! trusted to the daemon's own word. So a test goes like this:
//!
//! 1. [`node::run`] starts the test's own program again inside a **test node**: new mount, network,
//!    pid, IPC, UTS and cgroup namespaces, with `/run`, the CNI directories, `/sys` and the cgroup
//!    layout that the test asks for. The body runs in there; outside only a deadline is kept.
//! 2. [`oracle::Oracle`] looks at the node before anything is done. It asks `ip`, `findmnt`,
//!    `iptables-save`, `nft`, `/proc` and the cgroup file system, and no line of Podwalk.
//! 3. [`conflist`] writes the networks, [`daemon::Daemon`] starts the real `podwalk serve`, waits for
//!    its `READY=1`, and calls the real client commands.
//! 4. [`outside`] says what a pod looks like to somebody who does not know Podwalk: the addresses in
//!    its namespace, what is mounted on its file, which namespace its process is in.
//! 5. [`scene`] puts these together: a node with networks and a daemon, and what must be true of every
//!    pod in it.
//! 6. At the end the oracle names whatever was not there at the beginning.
//!
//! [`cri`] asks the same daemon as kubelet does.
//!
//! Three more are for what comes without a warning: [`crash`] ends a daemon at a point that the code
//! marks, [`machine`] puts a machine into the node that can be rebooted, and [`disk`] gives it a disk
//! that holds no more than what was written when the plug was pulled.
//!
//! # Invariants
//!
//! - **The machine is untouched.** Everything but a node's cgroups goes with its namespaces, however
//!   the test ends; the cgroups are removed by the outer process, and by the next node if that died.
//! - **A node is alone.** Nodes run in parallel. Each has its own root in every cgroup hierarchy (a
//!   cgroup namespace, for version 1 as for version 2), so that no test sees another's groups.
//! - **A test that did not run does not pass.** The body reports its end with an exit code that no
//!   test runner gives; a node that cannot be made is a failure, and without root the test says that
//!   it was skipped, which is an error where the variable `CI` is set.
//! - **Nothing waits by sleeping.** A pidfd, a socket, a pipe; where the kernel offers nothing to
//!   wait for, a condition is polled until a generous deadline.
#![forbid(unsafe_code)]

pub mod ask;
pub mod conflist;
pub mod counts;
pub mod crash;
pub mod cri;
pub mod daemon;
pub mod dice;
pub mod disk;
pub mod handlers;
pub mod late;
pub mod machine;
pub mod node;
pub mod oracle;
pub mod outside;
pub mod plugins;
pub mod raw;
pub mod scene;
pub mod source;
pub mod wait;
