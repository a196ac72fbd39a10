//! What becomes of pods, and of what is asked of them wrongly.

use std::iter;
use std::time::Duration;

use podwalk_engine::step::Step;
use podwalk_testkit::sim::{Crash, Fault, Mishap, Site};

use super::*;

#[test]
fn a_pod_goes_up_and_down() {
    let scene = scene();
    let id = scene.run(pod("web", 0), "crun").unwrap();
    let told = scene.status(&id).unwrap();
    let info = |told: &v1::PodSandboxStatusResponse| -> serde_json::Value {
        serde_json::from_str(&told.info["info"]).unwrap()
    };
    let up = serde_json::json!({ "id": id, "sandbox": { "pid": 7 }, "pid": 7 });
    assert_eq!(info(&told), up);
    let status = told.status.unwrap();
    assert_eq!(status.state(), v1::PodSandboxState::SandboxReady);
    assert_eq!(status.runtime_handler, "crun");
    let network = status.network.unwrap();
    assert_eq!(network.ip, "10.0.0.2");
    assert_eq!(network.additional_ips[0].ip, "fd00::2");
    assert_eq!(scene.list(Default::default()), ["web"]);
    scene.stop(&id).unwrap();
    let told = scene.status(&id).unwrap();
    let down = serde_json::json!({ "id": id, "sandbox": null });
    assert_eq!(info(&told), down, "no pid where there is none");
    let status = told.status.unwrap();
    assert_eq!(status.state(), v1::PodSandboxState::SandboxNotready);
    scene.stop(&id).unwrap();
    scene.remove(&id).unwrap();
    scene.remove(&id).unwrap();
    scene.stop(&id).unwrap();
    assert_eq!(scene.status(&id).unwrap_err().code(), Code::NotFound);
    assert!(scene.machine.host.things().is_empty());
}

#[test]
fn a_retry_joins_and_another_spec_does_not() {
    let scene = scene();
    let id = scene.run(pod("web", 0), "").unwrap();
    assert_eq!(scene.run(pod("web", 0), "").unwrap(), id);
    assert_eq!(
        scene.run(pod("web", 5), "").unwrap(),
        id,
        "with any attempt"
    );
    let mut other = pod("web", 0);
    other.hostname = "elsewhere".to_owned();
    let refused = scene.run(other, "").unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists);
    assert!(refused.message().contains(&id), "{refused:?}");
}

#[test]
fn what_is_asked_for_wrongly_is_named() {
    let scene = scene();
    let nothing = v1::RunPodSandboxRequest::default();
    let runtime = scene.runtime.clone();
    let refused = scene.walk(async move { runtime.run_pod_sandbox(Request::new(nothing)).await });
    assert!(refused.unwrap_err().message().contains("metadata"));
    let mut nameless = pod("", 0);
    let refused = scene.run(nameless.clone(), "").unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("metadata.name"), "{refused:?}");
    nameless.metadata = None;
    let refused = scene.run(nameless, "").unwrap_err();
    assert!(refused.message().contains("metadata"), "{refused:?}");
    let refused = scene.run(pod("web", 0), "kta").unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let message = refused.message();
    assert!(
        message.contains("'kta'") && message.contains("crun, vm"),
        "{message}"
    );
    assert!(scene.runtime.engine.list().is_empty());
}

#[test]
fn an_id_may_be_a_unique_prefix_and_nothing_else() {
    let scene = scene();
    let one = scene.run(pod("one", 0), "").unwrap();
    let two = scene.run(pod("two", 0), "").unwrap();
    let length = iter::zip(one.chars(), two.chars())
        .take_while(|(a, b)| a == b)
        .count();
    let status = |id: &str| scene.status(id).map(|told| told.status.unwrap().id);
    assert_eq!(status(&one[..=length]).unwrap(), one);
    assert!(length > 0, "{one} and {two} begin differently");
    let refused = status(&one[..length]).unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let message = refused.message();
    assert!(
        message.contains(&one) && message.contains(&two),
        "{message}"
    );
    for call in [scene.stop(""), scene.remove(""), scene.status("").map(drop)] {
        assert_eq!(call.unwrap_err().code(), Code::InvalidArgument);
    }
    let long = "x".repeat(100_000);
    scene.stop(&long).unwrap();
    scene.remove("web\0\n").unwrap();
    let refused = scene.status(&long).unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    assert!(refused.message().len() < 200, "{refused:?}");
    // A name is no id.
    assert_eq!(status("one").unwrap_err().code(), Code::NotFound);
}

#[test]
fn a_list_is_filtered_by_id_state_and_labels() {
    let scene = scene();
    let one = scene.run(pod("one", 0), "").unwrap();
    let two = scene.run(pod("two", 0), "").unwrap();
    scene.stop(&two).unwrap();
    assert_eq!(scene.list(Default::default()).len(), 2);
    assert_eq!(scene.list(id_filter(&one)), ["one"]);
    assert_eq!(scene.list(id_filter(&two[..two.len() - 1])).len(), 1);
    assert!(scene.list(id_filter("nobody")).is_empty());
    let state = |state: v1::PodSandboxState| v1::PodSandboxFilter {
        state: Some(v1::PodSandboxStateValue {
            state: state.into(),
        }),
        ..Default::default()
    };
    assert_eq!(
        scene.list(state(v1::PodSandboxState::SandboxReady)),
        ["one"]
    );
    assert_eq!(
        scene.list(state(v1::PodSandboxState::SandboxNotready)),
        ["two"]
    );
    let labels = |value: &str| v1::PodSandboxFilter {
        label_selector: [("app".to_owned(), value.to_owned())].into(),
        ..Default::default()
    };
    assert_eq!(scene.list(labels("two")), ["two"]);
    assert!(scene.list(labels("three")).is_empty());
}

/// Scenario 5 as kubelet sees it: what is owed is told as long as it is young, and holds nothing
/// afterwards.
#[test]
fn a_debt_is_reported_by_stop_and_remove_until_its_grace_is_over() {
    let scene = scene();
    // Kubelet's pods have a uid, and a debt holds no key that has one.
    let of_kubelet = |attempt| {
        let mut config = pod("web", attempt);
        config.metadata.as_mut().unwrap().uid = "0b1c".to_owned();
        config
    };
    let id = scene.run(of_kubelet(0), "").unwrap();
    let fail = Mishap::Fail { after: 0 };
    let fault = Fault::for_ever(Step::ConfigureCni, Site::Undo, fail);
    scene.machine.faults.add(fault);
    for call in [scene.stop(&id), scene.remove(&id)] {
        let refused = call.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
        let message = refused.message();
        assert!(
            message.contains(&id) && message.contains("podwalk debts"),
            "{message}"
        );
    }
    assert_eq!(scene.list(Default::default()), ["web"], "it is still there");
    scene.machine.pass(Duration::from_secs(120));
    scene.remove(&id).unwrap();
    assert!(scene.list(Default::default()).is_empty());
    // In the ledger it is still, and a question for it is answered.
    assert_eq!(scene.runtime.engine.list().len(), 1);
    let status = scene.status(&id).unwrap().status.unwrap();
    assert_eq!(status.state(), v1::PodSandboxState::SandboxNotready);
    // Another attempt is held by nothing of it.
    let next = scene.run(of_kubelet(1), "").unwrap();
    assert_ne!(next, id);
}

/// Scenario 11: nothing of it is touched, whoever asks, and others go on.
#[test]
fn a_pod_in_quarantine_is_named_to_whoever_asks_for_it() {
    let before = scene();
    let id = before.run(pod("web", 0), "").unwrap();
    let (_, entries) = before.machine.journal.contents().pods.remove(0);
    let mut torn = entries[3].clone();
    torn.sequence += 100;
    before.machine.journal.plant(vec![torn]);
    before.machine.crash(Crash::Kill { strays: false });
    let scene = scene_on(before.machine, Lent::default());
    let calls = [
        scene.stop(&id),
        scene.remove(&id),
        scene.status(&id).map(drop),
        scene.status(&id[..id.len() - 1]).map(drop),
    ];
    for call in calls {
        let refused = call.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        let way = format!("podwalk quarantine show {id}");
        assert!(refused.message().contains(&way), "{refused:?}");
    }
    assert!(scene.list(Default::default()).is_empty());
    *scene.lent.ids.lock().unwrap() = 7;
    let other = scene.run(pod("other", 0), "").unwrap();
    scene.remove(&other).unwrap();
    assert!(!scene.machine.host.things().is_empty(), "the first is kept");
}
