//! Under construction.

pub mod clock;
pub mod decide;
pub mod engine;
pub mod error;
pub mod event;
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
