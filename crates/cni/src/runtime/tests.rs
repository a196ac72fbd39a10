use super::*;
use serde_json::json;

fn conflist(version: &str) -> Conflist {
    let list = json!({"cniVersion": version, "name": "n", "plugins": [{"type": "absent"}]});
    Conflist::parse(list.to_string().as_bytes(), Path::new("x")).unwrap()
}

fn runtime() -> Runtime {
    Runtime::new(RuntimeOptions::new(vec![PathBuf::from("/nowhere")]))
}

async fn refused(attachment: &Attachment) -> CniError {
    let error = runtime()
        .add(&conflist("1.0.0"), attachment)
        .await
        .unwrap_err();
    assert!(error.nothing_ran());
    error
}

#[tokio::test]
async fn duty_40_scenario_18_without_a_namespace_no_plugin_runs() {
    let none = refused(&Attachment::new("c1", "eth0")).await;
    assert!(matches!(none.kind(), Failure::NoNetns));
    let empty = refused(&Attachment::new("c1", "eth0").in_netns("")).await;
    assert!(matches!(empty.kind(), Failure::NoNetns));
    let missing = refused(&Attachment::new("c1", "eth0").in_netns("/nowhere/ns")).await;
    assert!(matches!(missing.kind(), Failure::NetnsUnreadable { .. }));
    let file = tempfile::NamedTempFile::new().unwrap();
    let plain = refused(&Attachment::new("c1", "eth0").in_netns(file.path())).await;
    assert!(matches!(plain.kind(), Failure::NotANamespace { path } if path == file.path()));
}

#[tokio::test]
async fn what_cannot_be_a_parameter_is_refused_before_anything_runs() {
    let error = refused(&Attachment::new("../c", "eth0").in_netns("/proc/self/ns/net")).await;
    assert!(matches!(error.kind(), Failure::Attachment(_)));
}

#[tokio::test]
async fn a_missing_binary_is_found_missing_before_it_is_needed() {
    let error = runtime().locate(&conflist("1.0.0")).unwrap_err();
    assert!(matches!(error.kind(), Failure::PluginMissing { .. }));
    assert_eq!(error.plugin(), Some("absent"));
}

#[tokio::test(start_paused = true)]
async fn patience_is_bounded_in_attempts_and_in_time() {
    let mut options = RuntimeOptions::new(vec![]);
    options.retry = Retry {
        attempts: 4,
        pause: Duration::from_secs(1),
    };
    let pauses = |options: &RuntimeOptions| {
        let mut patience = Patience::new(options);
        let mut pauses = Vec::new();
        while let Some(pause) = patience.next_pause() {
            pauses.push(pause.as_secs());
        }
        pauses
    };
    assert_eq!(pauses(&options), [1, 2, 4]);
    options.plugin_deadline = Duration::from_secs(3);
    assert_eq!(pauses(&options), [1, 2]);
    options.retry.attempts = 1;
    assert_eq!(pauses(&options), [0u64; 0]);
}

#[test]
fn duty_23_a_result_that_does_not_read_is_left_out() {
    let new = conflist("1.0.0");
    assert_eq!(recorded(&new, None), None);
    for lost in ["", "{", "null", "[]", r#"{"cniVersion": "9.0.0"}"#] {
        assert_eq!(recorded(&new, Some(lost.as_bytes())), None, "{lost}");
    }
    let kept = recorded(&new, Some(br#"{"cniVersion": "0.4.0", "ips": []}"#)).unwrap();
    assert_eq!(
        Value::Object(kept),
        json!({"cniVersion": "1.0.0", "ips": []})
    );
}

#[test]
fn duty_22_no_result_is_given_below_0_4_0() {
    let result = br#"{"cniVersion": "0.3.1"}"#;
    assert_eq!(recorded(&conflist("0.3.1"), Some(result)), None);
    assert!(recorded(&conflist("0.4.0"), Some(result)).is_some());
}

/// Collects the names of crash points.
#[derive(Default, Clone)]
struct Points(Arc<std::sync::Mutex<Vec<String>>>);

impl tracing::field::Visit for Points {
    fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
        if field.name() == "point" {
            self.0.lock().unwrap().push(value.to_owned());
        }
    }

    fn record_debug(&mut self, _: &tracing::field::Field, _: &dyn std::fmt::Debug) {}
}

impl tracing::Subscriber for Points {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "podwalk::point"
    }

    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut self.clone());
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn every_plugin_passes_its_crash_points() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let plugin = directory.path().join("absent");
    // It ends only after it has read everything, so that the order of the points is fixed.
    std::fs::write(&plugin, "#!/bin/sh\ncat >/dev/null\necho '{}'\n").unwrap();
    std::fs::set_permissions(&plugin, PermissionsExt::from_mode(0o755)).unwrap();
    let runtime = Runtime::new(RuntimeOptions::new(vec![directory.path().to_owned()]));
    let attachment = Attachment::new("c1", "eth0").in_netns("/proc/self/ns/net");
    let points = Points::default();
    let listening = tracing::subscriber::set_default(points.clone());
    let conflist = conflist("1.1.0");
    runtime.add(&conflist, &attachment).await.unwrap();
    runtime.del(&conflist, &attachment, None).await.unwrap();
    runtime.status(&conflist).await.unwrap();
    runtime.gc(&conflist, &[], Vec::new).await.unwrap();
    drop(listening);
    let each = ["spawning", "spawned", "fed", "exited", "plugin-done"];
    let expected: Vec<String> = ["add", "del", "gc"]
        .iter()
        .flat_map(|verb| each.map(|point| format!("cni.{verb}.{point}")))
        .collect();
    assert_eq!(*points.0.lock().unwrap(), expected);
}
