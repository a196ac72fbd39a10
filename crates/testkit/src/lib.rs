//! Under construction.

pub mod scripted_plugin;
