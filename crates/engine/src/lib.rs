//! Under construction.

pub mod clock;
pub mod decide;
pub mod error;
pub mod id;
pub mod pod;
pub mod ports;
pub mod record;
pub mod rungs;
pub mod spec;
pub mod step;
