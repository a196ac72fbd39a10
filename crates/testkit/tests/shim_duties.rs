//! What a handler of shims does with shims that behave, and with those that do not. Real processes,
//! by the scripted shim; needs root, for cgroups.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what it expects by panicking"
)]

#[path = "shim_duties/rig.rs"]
mod rig;
#[path = "shim_duties/services.rs"]
mod services;

use std::time::Duration;

use podwalk_oci::{OciError, Probe, ProcessWatch, ShimOptions};
use podwalk_testkit::scripted_shim::{Act, Script};
use rig::{EFFECT, Rig};

/// The deadline of what hangs.
const SHORT: Duration = Duration::from_secs(3);

fn hang() -> Act {
    Act {
        hang: true,
        ..Act::default()
    }
}

fn fail() -> Act {
    Act {
        fail: Some("told to fail".to_owned()),
        ..Act::default()
    }
}

/// A plain address, JSON of each version, a version that the shim does not serve after all.
#[tokio::test(flavor = "multi_thread")]
async fn every_answer_and_either_version_of_the_task_service_is_understood() {
    for (json, task_v3) in [
        (None, false),
        (Some(2), false),
        (Some(3), true),
        (Some(3), false),
        (None, true),
    ] {
        let script = Script {
            json,
            task_v3,
            ..Script::new()
        };
        let Some(rig) = Rig::new(&script) else { return };
        let target = rig.start().await.unwrap();
        let process = target.process.unwrap();
        let found = rig.runtime.probe(&rig.derived()).await.unwrap();
        assert_eq!(found, Probe::Running { process }, "{json:?} {task_v3}");
        rig.runtime.delete(&target).await.unwrap();
        rig.assert_nothing_left();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn options_reach_start_and_create() {
    let change = |_: &mut _, settings: &mut podwalk_oci::ShimSettings| {
        settings.options = ShimOptions::ConfigPath("/etc/kata.toml".into());
    };
    let Some(rig) = Rig::with(&Script::new(), change) else {
        return;
    };
    let target = rig.start().await.unwrap();
    rig.runtime.delete(&target).await.unwrap();
    for name in ["start", "Create"] {
        let calls = rig.shim.calls().unwrap();
        let call = calls.into_iter().find(|call| call.name == name).unwrap();
        assert_eq!(call.options.as_deref(), Some("runtimeoptions.v1.Options"));
    }
    rig.assert_nothing_left();
}

/// A machine that boots slowly is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_start_is_no_failure() {
    let slow = Act {
        delay_ms: 300,
        ..Act::default()
    };
    let script = ["start", "Connect", "Create", "Start"];
    let script = script
        .into_iter()
        .fold(Script::new(), |script, name| script.on(name, slow.clone()));
    let Some(rig) = Rig::new(&script) else { return };
    let target = rig.start().await.unwrap();
    rig.runtime.delete(&target).await.unwrap();
    rig.assert_nothing_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hang_at_any_call_of_a_start_ends_and_is_undone() {
    for name in ["start", "Connect", "Create", "Start", "State"] {
        let script = Script::new().on(name, hang()).on(name, Act::default());
        let change = |handler: &mut podwalk_oci::Handler, _: &mut _| {
            let deadlines = &mut handler.deadlines;
            // The one that bounds this call, and not those that must come through.
            let of_it = match name {
                "start" | "Create" => &mut deadlines.create,
                "Start" => &mut deadlines.start,
                _ => &mut deadlines.query,
            };
            *of_it = SHORT;
        };
        let Some(rig) = Rig::with(&script, change) else {
            return;
        };
        let error = rig.start().await.unwrap_err();
        let late = matches!(
            error,
            OciError::Deadline { .. } | OciError::RpcDeadline { .. }
        );
        assert!(late && !error.nothing_begun(), "{name}: {error}");
        rig.runtime.delete(&rig.derived()).await.unwrap();
        rig.assert_nothing_left();
    }
}

/// The shim is killed, and what it does not do is done without it.
#[tokio::test(flavor = "multi_thread")]
async fn a_hang_or_a_refusal_at_any_call_of_an_end_keeps_nothing_alive() {
    for name in ["State", "Kill", "Wait", "Delete", "Shutdown"] {
        for act in [hang(), fail()] {
            // The first State is the start's.
            let script = Script::new().on("State", Act::default()).on(name, act);
            let Some(rig) = Rig::new(&script) else { return };
            let target = rig.start().await.unwrap();
            let impatient = rig.another_life_with(|deadlines| {
                deadlines.query = SHORT;
                deadlines.kill = SHORT;
            });
            impatient.kill(&target).await.unwrap();
            let process = target.process.unwrap();
            assert!(ProcessWatch::open(process).unwrap().is_none(), "{name}");
            impatient.delete(&target).await.unwrap();
            rig.assert_nothing_left();
        }
    }
}

/// The shim dies in the middle of a start; from Start on there is a machine, which is ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_death_at_any_call_of_a_start_is_undone() {
    let die = Act {
        die: true,
        ..Act::default()
    };
    for name in ["start", "Connect", "Create", "Start", "State"] {
        let script = Script::new().on(name, die.clone()).on(name, Act::default());
        let Some(rig) = Rig::new(&script) else { return };
        let error = rig.start().await.unwrap_err();
        assert!(
            matches!(error, OciError::Rpc { .. } | OciError::Failed { .. }),
            "{name}: {error}"
        );
        let machine = rig.machines();
        assert_eq!(
            machine.len(),
            usize::from(["Start", "State"].contains(&name))
        );
        let found = rig.runtime.probe(&rig.derived()).await.unwrap();
        match name {
            "start" => assert_eq!(found, Probe::Absent),
            _ => assert!(matches!(found, Probe::Partial { .. }), "{name}: {found:?}"),
        }
        rig.runtime.delete(&rig.derived()).await.unwrap();
        rig.assert_nothing_left();
    }
}

/// It is owed, and a later one pays; nothing of it lives meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_delete_that_fails_is_an_error_until_it_does_not() {
    let script = Script::new()
        .on("delete", fail())
        .on("delete", fail())
        .on("delete", Act::default());
    let Some(rig) = Rig::new(&script) else { return };
    let target = rig.start().await.unwrap();
    rig.kill_shim().await;
    for _ in 0..2 {
        let error = rig.runtime.delete(&target).await.unwrap_err();
        assert!(
            matches!(&error, OciError::Failed { message, .. } if message.contains("told to fail")),
            "{error}"
        );
        assert_eq!(rig.machines(), Vec::<u32>::new());
    }
    rig.runtime.delete(&target).await.unwrap();
    rig.assert_nothing_left();
}

/// A `delete` that hangs is given up, and is owed.
#[tokio::test(flavor = "multi_thread")]
async fn a_delete_that_hangs_ends() {
    let script = Script::new()
        .on("delete", hang())
        .on("delete", Act::default());
    let Some(rig) = Rig::new(&script) else { return };
    let target = rig.start().await.unwrap();
    let impatient = rig.another_life_with(|deadlines| deadlines.delete = SHORT);
    let error = impatient.delete(&target).await.unwrap_err();
    assert!(matches!(error, OciError::Deadline { .. }), "{error}");
    rig.runtime.delete(&target).await.unwrap();
    rig.assert_nothing_left();
}

/// The exit is told before Start is answered: what counts is the process.
#[tokio::test(flavor = "multi_thread")]
async fn an_exit_before_the_answer_of_start_is_no_start() {
    let exit_first = Act {
        exit_first: true,
        ..Act::default()
    };
    let Some(rig) = Rig::new(&Script::new().on("Start", exit_first)) else {
        return;
    };
    let error = rig.start().await.unwrap_err();
    assert!(matches!(error, OciError::EndedAtOnce { .. }), "{error}");
    let found = rig.runtime.probe(&rig.derived()).await.unwrap();
    assert_eq!(found, Probe::Stopped);
    rig.runtime.delete(&rig.derived()).await.unwrap();
    rig.assert_nothing_left();
}

/// The shim was left behind all the same, and is found.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_none_is_refused_and_its_shim_ended() {
    for text in ["hello", "unix:///nobody/listens", "{\"version\":3}", ""] {
        let print = Act {
            print: Some(text.to_owned()),
            ..Act::default()
        };
        let Some(rig) = Rig::new(&Script::new().on("start", print)) else {
            return;
        };
        let error = rig.start().await.unwrap_err();
        assert!(matches!(error, OciError::Answer { .. }), "{text}: {error}");
        assert_eq!(rig.shims().len(), 1);
        rig.runtime.delete(&rig.derived()).await.unwrap();
        rig.assert_nothing_left();
    }
}

/// A dead shim leaves its machine running.
#[tokio::test(flavor = "multi_thread")]
async fn a_shim_that_was_killed_is_told_and_its_machine_ended() {
    let Some(rig) = Rig::new(&Script::new()) else {
        return;
    };
    let target = rig.start().await.unwrap();
    rig.kill_shim().await;
    assert_eq!(rig.machines(), [target.process.unwrap().pid]);
    for known in [&target, &rig.derived()] {
        let found = rig.runtime.probe(known).await.unwrap();
        assert!(matches!(found, Probe::Partial { .. }), "{found:?}");
    }
    rig.runtime.delete(&rig.derived()).await.unwrap();
    rig.runtime.delete(&target).await.unwrap();
    rig.assert_nothing_left();
}

/// Whoever looks for the processes of effects must not take a shim for one.
#[tokio::test(flavor = "multi_thread")]
async fn a_shim_has_not_the_variable_of_effects() {
    let change = |_: &mut _, settings: &mut podwalk_oci::ShimSettings| {
        settings.effect_variable = Some(EFFECT.to_owned());
    };
    let Some(rig) = Rig::with(&Script::new(), change) else {
        return;
    };
    let target = rig.start().await.unwrap();
    let [shim] = rig.shims().try_into().unwrap();
    let environment = std::fs::read(format!("/proc/{shim}/environ")).unwrap();
    let environment = String::from_utf8(environment).unwrap();
    assert!(!environment.contains(EFFECT), "{environment}");
    assert!(environment.contains("PODWALK_SHIM="), "{environment}");
    rig.runtime.delete(&target).await.unwrap();
    rig.assert_nothing_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn its_version_is_told_or_its_path() {
    let Some(rig) = Rig::new(&Script::new()) else {
        return;
    };
    let version = rig.runtime.version().await.unwrap();
    assert_eq!(version.line, "podwalk-scripted-shim 1");
}
