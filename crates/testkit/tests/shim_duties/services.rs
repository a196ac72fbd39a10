//! By which service a shim is asked for the sandbox, and what it is told.

use std::collections::BTreeMap;

use podwalk_oci::{OciError, Probe, ShimApi};
use podwalk_testkit::scripted_shim::{Act, Script};

use super::rig::Rig;
use super::{SHORT, hang};

/// What Kata's says of options that it does not know.
const REFUSAL: &str = "unsupported type url: runtime.v1.PodSandboxConfig";

fn served() -> Script {
    Script {
        sandbox_api: true,
        ..Script::new()
    }
}

fn pausing() -> Script {
    Script {
        pause_service: true,
        ..Script::new()
    }
}

fn refusing(why: &str) -> Script {
    let act = Act {
        fail: Some(why.to_owned()),
        ..Act::default()
    };
    served().on("CreateSandbox", act)
}

fn rig(script: &Script, api: ShimApi) -> Option<Rig> {
    Rig::with(script, |_, settings| settings.api = api)
}

/// How it was asked to create, in order.
fn creates(rig: &Rig) -> Vec<String> {
    let names = rig.names().into_iter();
    names.filter(|name| name.starts_with("Create")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sandbox_service_is_spoken_where_it_is_asked_for_and_makes_sandboxes() {
    let table: [(ShimApi, Script, &[&str]); 6] = [
        (ShimApi::Task, served(), &["Create"]),
        (ShimApi::Sandbox, served(), &["CreateSandbox"]),
        (ShimApi::Auto, served(), &["CreateSandbox"]),
        (ShimApi::Auto, Script::new(), &["Create"]),
        (
            ShimApi::Auto,
            refusing(REFUSAL),
            &["CreateSandbox", "Create"],
        ),
        (ShimApi::Auto, pausing(), &["CreateSandbox", "Create"]),
    ];
    for (api, script, spoken) in table {
        let Some(rig) = rig(&script, api) else { return };
        let target = rig.start().await.unwrap();
        let process = target.process.unwrap();
        assert_eq!(creates(&rig), spoken, "{api:?} {script:?}");
        assert_eq!(rig.machines(), [process.pid]);
        // Another life, which has the bundle only.
        let found = rig.another_life().probe(&rig.derived()).await.unwrap();
        assert_eq!(found, Probe::Running { process });
        rig.runtime.kill(&target).await.unwrap();
        let found = rig.runtime.probe(&rig.derived()).await.unwrap();
        assert_eq!(found, Probe::Stopped);
        rig.runtime.delete(&rig.derived()).await.unwrap();
        rig.assert_nothing_left();
    }
}

/// It reads nothing else of the pod: its own options would be refused.
#[tokio::test(flavor = "multi_thread")]
async fn the_sandbox_service_is_told_of_the_pod_as_its_client_said_it() {
    let Some(mut rig) = rig(&served(), ShimApi::Sandbox) else {
        return;
    };
    // metadata.name, as protobuf has it.
    let pod = b"\x0a\x05\x0a\x03web".to_vec();
    let ours = ("io.kubernetes.cri.container-type", "sandbox");
    let pair = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    rig.config.pod_sandbox_config.clone_from(&pod);
    rig.config.annotations.extend([pair(ours)]);
    rig.config.user_annotations = BTreeMap::from([pair(("mine", "x")), pair(("passed", "y"))]);
    rig.config.passed_annotations = vec!["passed".to_owned()];
    let target = rig.start().await.unwrap();
    let calls = rig.shim.calls().unwrap();
    let asked = calls
        .iter()
        .find(|call| call.name == "CreateSandbox")
        .unwrap();
    assert_eq!(
        asked.options.as_deref(),
        Some("runtime.v1.PodSandboxConfig")
    );
    assert_eq!(asked.message, pod);
    let expected = BTreeMap::from([pair(ours), pair(("passed", "y"))]);
    assert_eq!(asked.annotations, expected);
    rig.runtime.delete(&target).await.unwrap();
    rig.assert_nothing_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_service_that_makes_none_is_an_error_where_no_other_may_be_asked() {
    for (script, why) in [
        (Script::new(), "does not serve it"),
        (refusing(REFUSAL), REFUSAL),
        (pausing(), "StartSandbox starts nothing"),
    ] {
        let Some(rig) = rig(&script, ShimApi::Sandbox) else {
            return;
        };
        let error = rig.start().await.unwrap_err();
        let told = error.to_string();
        assert!(matches!(error, OciError::NoSandboxService { .. }), "{told}");
        assert!(
            told.contains(why) && told.contains("api to \"task\""),
            "{told}"
        );
        assert!(!rig.names().contains(&"Create".to_owned()));
        rig.runtime.delete(&rig.derived()).await.unwrap();
        rig.assert_nothing_left();
    }
}

/// It may have made half of one: the other service is not asked.
#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_service_that_fails_is_no_reason_to_ask_the_other() {
    let make_first = Act {
        make_first: true,
        ..Act::default()
    };
    for (script, why) in [
        (refusing("no kvm"), "no kvm"),
        (served().on("CreateSandbox", make_first), "run since"),
    ] {
        let Some(rig) = rig(&script, ShimApi::Auto) else {
            return;
        };
        let error = rig.start().await.unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
        assert_eq!(creates(&rig), ["CreateSandbox"]);
        rig.runtime.delete(&rig.derived()).await.unwrap();
        rig.assert_nothing_left();
    }
}

/// A life that ends before it has found out leaves nothing that its successor takes for a sandbox.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_is_cut_while_the_sandbox_service_is_asked_is_no_sandbox() {
    let hangs = hang();
    for (script, call) in [
        (pausing(), "CreateSandbox"),
        (pausing(), "StartSandbox"),
        (pausing(), "Create"),
        (served(), "CreateSandbox"),
        (served(), "StartSandbox"),
    ] {
        let script = script.on(call, hangs.clone());
        let change = |handler: &mut podwalk_oci::Handler,
                      settings: &mut podwalk_oci::ShimSettings| {
            handler.deadlines.create = SHORT;
            handler.deadlines.start = SHORT;
            settings.api = ShimApi::Auto;
        };
        let Some(rig) = Rig::with(&script, change) else {
            return;
        };
        let error = rig.start().await.unwrap_err();
        assert!(
            matches!(error, OciError::RpcDeadline { .. }),
            "{call}: {error}"
        );
        let found = rig.another_life().probe(&rig.derived()).await.unwrap();
        assert!(
            !matches!(found, Probe::Running { .. } | Probe::Absent),
            "{call}: {found:?}"
        );
        rig.another_life().delete(&rig.derived()).await.unwrap();
        rig.assert_nothing_left();
    }
}

/// Nobody serves what was recorded: there is no sandbox, and it is not unknown whether there is.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_was_asked_and_is_not_served_has_made_none() {
    let Some(rig) = rig(&Script::new(), ShimApi::Sandbox) else {
        return;
    };
    rig.start().await.unwrap_err();
    let found = rig.another_life().probe(&rig.derived()).await.unwrap();
    assert!(matches!(found, Probe::Partial { .. }), "{found:?}");
    rig.runtime.delete(&rig.derived()).await.unwrap();
    rig.assert_nothing_left();
}
