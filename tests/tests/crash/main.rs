//! SIGKILL at every moment of a story, and a restart: all is as asked, or nothing is left.
//!
//! The moments are generated: a story is told once to a daemon that writes down the points it comes
//! to, and then again with a crash at each of them (`table`). The stories are in `stories`. One
//! moment that is not reached fails the run.
//!
//! With `PODWALK_CRASH_ALL=1` every table has all of its rows; without, some have every n-th only.
#![forbid(unsafe_code)]

use std::time::Duration;

use anyhow::Result;
use podwalk_testkit::scripted_plugin::{Answer, Script};
use podwalk_tests::daemon::Config;
use podwalk_tests::handlers::{
    CRUN, Handler, PAUSING_SHIM, RUNC, RUNSC, SANDBOX_SHIM, SCRIPTED_SHIM, SHIM_RUNC,
};
use podwalk_tests::late::{self, Plane};
use podwalk_tests::node::{self, Layout};
use podwalk_tests::plugins::{Plugins, write_program};
use serde_json::json;

mod stories;
mod table;

use stories::{Fail, GiveUp, Resume, Walk};
use table::{Part, Table, rows};

/// Tests, each in a node of its own.
macro_rules! tables {
    ($($name:ident: $layout:ident, $body:expr;)*) => {$(
        #[test]
        fn $name() -> Result<()> {
            node::run_within(Layout::$layout, Duration::from_secs(1200), || $body)
        }
    )*};
}

tables! {
    sigkill_at_every_point_with_crun_1: V1, walk(CRUN, Part(0, 4));
    sigkill_at_every_point_with_crun_2: V1, walk(CRUN, Part(1, 4));
    sigkill_at_every_point_with_crun_3: V1, walk(CRUN, Part(2, 4));
    sigkill_at_every_point_with_crun_4: V1, walk(CRUN, Part(3, 4));
    sigkill_at_some_points_with_crun_on_v2: V2, walk(CRUN, some(1, 6));
    sigkill_at_some_points_with_runc: V1, walk(RUNC, some(2, 6));
    sigkill_at_some_points_with_runsc: V1, walk(RUNSC, some(4, 6));
    sigkill_at_some_points_with_a_shim: V1, walk(SHIM_RUNC, some(1, 3));
    sigkill_at_some_points_with_a_shim_on_v2: V2, walk(SHIM_RUNC, some(3, 6));
    sigkill_at_some_points_with_a_machine_behind_a_shim: V2, walk(SCRIPTED_SHIM, some(0, 5));
    sigkill_at_some_points_with_a_shim_whose_service_is_found_out: V2, walk(PAUSING_SHIM, some(2, 6));
    sigkill_at_some_points_with_a_machine_by_the_sandbox_service: V2, walk(SANDBOX_SHIM, some(4, 6));
    sigkill_at_some_points_with_a_late_network_with_crun: V1, late_walk(CRUN, some(0, 3));
    sigkill_at_some_points_with_a_late_network_with_runc: V2, late_walk(RUNC, some(1, 6));
    sigkill_at_some_points_with_a_late_network_of_a_machine: V2, late_walk(SCRIPTED_SHIM, some(2, 6));
    sigkill_at_every_point_in_a_user_namespace_with_crun: V1, mapped(CRUN, Part(0, 1));
    sigkill_at_some_points_in_a_user_namespace_with_runc: V2, mapped(RUNC, some(3, 6));

    sigkill_in_a_resumption_after_a_cut_at_the_namespace: V1, resume(CRUN, "netns.bound#1", some(0, 5));
    sigkill_in_a_resumption_after_a_cut_between_plugins: V1, resume(CRUN, "cni.add.plugin-done#1", some(0, 3));
    sigkill_in_a_resumption_after_a_cut_behind_the_network: V1, resume(CRUN, "cni.add.plugin-done#2", some(1, 5));
    sigkill_in_a_resumption_after_a_cut_in_the_runtime: V1, resume(CRUN, "oci.run.spawned#1", some(2, 5));
    sigkill_in_a_resumption_after_a_cut_before_the_last_record: V2, resume(CRUN, "oci.started#1", some(1, 2));
    scenario_58_sigkill_while_a_network_that_was_used_is_made_anew_1: V1, resume(RUNSC, "oci.bundle.written#1", some(0, 3));
    scenario_58_sigkill_while_a_network_that_was_used_is_made_anew_2: V1, resume(RUNSC, "oci.ran#1", some(1, 3));
    scenario_58_sigkill_while_a_machine_of_a_shim_is_made_anew: V2, resume(SCRIPTED_SHIM, "shim.created#1", some(2, 5));
    sigkill_in_a_resumption_after_a_cut_behind_a_shim: V1, resume(SHIM_RUNC, "shim.started#1", some(3, 5));

    scenario_53_a_start_that_a_plugin_fails_is_never_resumed_upward: V2, plugin_fails(some(0, 1));
    sigkill_in_the_undo_of_a_start_that_the_runtime_fails: V1, runtime_fails(some(0, 3));
    sigkill_in_the_undo_of_a_start_that_is_not_resumed: V1, give_up("oci.started#1", some(1, 3));
}

/// A sample, unless all rows are asked for.
fn some(first: usize, of: usize) -> Part {
    match std::env::var_os("PODWALK_CRASH_ALL") {
        Some(_) => Part(0, 1),
        None => Part(first, of),
    }
}

fn walk(handler: Handler, part: Part) -> Result<()> {
    let table = Table::of(handler)?;
    rows(&table, &mut Walk::of(handler), "", part)
}

/// A second network is attached when the sandbox runs.
fn late_walk(handler: Handler, part: Part) -> Result<()> {
    let mut config = handler.configured()?;
    config
        .file
        .get_or_insert_default()
        .push_str(late::CONFIGURATION);
    Plane::before(&mut config)?;
    let table = Table::open(config, None)?;
    rows(&table, &mut Walk::late(handler), "", part)
}

/// The points of the user namespace's helper are among the moments.
fn mapped(handler: Handler, part: Part) -> Result<()> {
    let table = Table::of(handler)?;
    rows(&table, &mut Walk::mapped(handler), "", part)
}

fn resume(handler: Handler, cut: &'static str, part: Part) -> Result<()> {
    let table = Table::of(handler)?;
    rows(&table, &mut Resume { handler, cut }, "", part)
}

fn give_up(cut: &'static str, part: Part) -> Result<()> {
    let config = Config::with_file("[recovery]\nresume = false\n");
    let table = Table::open(config, None)?;
    rows(&table, &mut GiveUp { cut }, "engine.", part)
}

/// The last plugin of the network fails its ADD.
fn plugin_fails(part: Part) -> Result<()> {
    let mut config = Config::default();
    let no = Answer {
        error: Some(json!({"cniVersion": "1.0.0", "code": 120, "msg": "no uplink"})),
        ..Answer::default()
    };
    let script = Script::new().on("ADD", no);
    Plugins::before(&mut config)?.scripted("scripted", &script)?;
    let table = Table::open(config, Some(json!({"type": "scripted"})))?;
    rows(&table, &mut Fail { why: "no uplink" }, "engine.undo", part)
}

/// The runtime starts the sandbox, and says that it did not.
fn runtime_fails(part: Part) -> Result<()> {
    let path = node::disk().join("half-a-runtime");
    write_program(&path, HALF_A_RUNTIME)?;
    let config = Config::with_file(format!(
        "[runtime.handlers.crun]\nbinary = '{}'\n",
        path.display()
    ));
    let table = Table::open(config, None)?;
    rows(
        &table,
        &mut Fail {
            why: "no such device",
        },
        "engine.undo",
        part,
    )
}

/// crun, which starts the sandbox and says that it did not.
const HALF_A_RUNTIME: &str = r#"for word; do
	case $word in
	run) crun "$@" && echo '{"msg":"no such device"}' > "$6"; exit 1 ;;
	esac
done
exec crun "$@""#;
