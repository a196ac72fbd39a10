//! CRI v1.
#![forbid(unsafe_code)]

pub mod config;
#[cfg(feature = "server")]
pub mod node;
#[cfg(feature = "server")]
pub mod proto;
