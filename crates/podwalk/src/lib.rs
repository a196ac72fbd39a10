//! Podwalk's daemon and its command line, as a library.
//!
//! The engine decides, the adapters act; this crate is where they meet, and
//! holds no rule of either.
//!
//! 1. [`serve`] opens the journal, wires the adapters and answers on a socket.
//! 2. [`rungs`] has one rung per step: each calls one adapter (`podwalk-netns`,
//!    `podwalk-cni`, `podwalk-oci`) and says how it went.
//! 3. [`networks`] and [`handlers`] know what the operator has configured; a
//!    pod keeps what was pinned for it.
//! 4. [`server`] is the admin API, [`api`] its words, [`client`] and [`cli`]
//!    the other end of it.
//!    [`doctor`] looks whether that will do.
//! 5. [`quarantine`] keeps, shows and drops pods that do not decode. [`orphans`] finds and removes
//!    what is ours on the host and belongs to no pod.
//! 6. [`settings`] is what `inspect` tells of a pod's network. What clients ask for is CRI's own
//!    pod configuration, which `podwalk-cri` reads.
//!
//! The binary is three lines, so that a test can be the daemon and kill itself
//! at any point that the adapters mark.

#![forbid(unsafe_code)]

#[cfg(feature = "daemon")]
pub mod api;
#[cfg(feature = "daemon")]
pub mod cli;
#[cfg(feature = "daemon")]
pub mod client;
pub mod config;
#[cfg(feature = "daemon")]
mod cri;
#[cfg(feature = "daemon")]
pub mod doctor;
#[cfg(feature = "daemon")]
pub mod handlers;
#[cfg(feature = "daemon")]
pub mod networks;
#[cfg(feature = "daemon")]
pub mod orphans;
#[cfg(feature = "daemon")]
pub mod quarantine;
#[cfg(feature = "daemon")]
pub mod rungs;
#[cfg(feature = "daemon")]
pub mod serve;
#[cfg(feature = "daemon")]
pub mod server;
#[cfg(feature = "daemon")]
pub mod settings;
#[cfg(feature = "daemon")]
pub mod world;
