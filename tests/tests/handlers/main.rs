//! One suite over all runtime handlers: what is asked of one is asked of each.
//!
//! A handler is a line in `podwalk_tests::handlers`, and a line for each cgroup layout below. What a
//! crash at every marked point leaves is asked of each handler by the tables in `tests/crash`. What
//! is true of a kind of handlers only is in `virtual_machines`, and what the configuration says of a
//! handler in `configured`.
#![forbid(unsafe_code)]

use std::time::Duration;

mod configured;
mod services;
mod shims;
mod suite;
mod virtual_machines;

/// A guard against a hang, no measure of speed.
const PATIENCE: Duration = Duration::from_secs(60);

/// The suite for a handler with a cgroup layout.
macro_rules! suites {
    ($($name:ident: $handler:ident, $layout:ident;)*) => {$(
        mod $name {
            use anyhow::Result;
            use podwalk_tests::handlers::$handler;
            use podwalk_tests::node::{self, Layout};

            #[test]
            fn a_pod_is_started_told_of_and_removed() -> Result<()> {
                node::run(Layout::$layout, || super::suite::up_and_down($handler, Layout::$layout))
            }

            #[test]
            fn a_sandbox_that_ends_is_noticed() -> Result<()> {
                node::run(Layout::$layout, || super::suite::end_noticed($handler))
            }

            #[test]
            fn pods_are_adopted_after_a_crash() -> Result<()> {
                node::run(Layout::$layout, || super::suite::adopted($handler))
            }
        }
    )*};
}

suites! {
    crun_on_v1: CRUN, V1;
    crun_on_v2: CRUN, V2;
    runc_on_v1: RUNC, V1;
    runc_on_v2: RUNC, V2;
    runsc_on_v1: RUNSC, V1;
    shim_runc_on_v1: SHIM_RUNC, V1;
    shim_runc_on_v2: SHIM_RUNC, V2;
    scripted_shim_on_v1: SCRIPTED_SHIM, V1;
    scripted_shim_on_v2: SCRIPTED_SHIM, V2;
}
