//! CRI v1.
#![forbid(unsafe_code)]

#[cfg(feature = "server")]
pub mod node;
