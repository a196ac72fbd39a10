use std::sync::Arc;

use podwalk_engine::clock::Stamp;
use podwalk_engine::id::{BootId, InstanceId, PodId};
use podwalk_engine::pod::{Pod, fold};
use podwalk_engine::record::{Cause, CreateIntent, Entry, Goal, Intent, Record};
use podwalk_engine::spec::PodSpec;

use super::*;

fn view(number: u8, name: &str, attempt: u32, wall_ns: u64) -> PodView {
    let spec = PodSpec {
        name: name.to_owned(),
        namespace: "tests".to_owned(),
        attempt,
        labels: [("app".to_owned(), name.to_owned())].into(),
        ..PodSpec::default()
    };
    let records = [
        Record::Goal {
            goal: Goal::Run,
            cause: Cause::Request,
        },
        Record::Intent(Intent::Create(Box::new(CreateIntent {
            spec: spec.into(),
            sandbox_key: None,
        }))),
    ];
    let entries: Vec<Entry> = (0..)
        .zip(records)
        .map(|(sequence, record)| Entry {
            pod: PodId::new([number; 12], InstanceId([2; 4])),
            sequence,
            stamp: Stamp {
                boot: BootId([9; 16]),
                wall_ns,
                boottime_ns: 1,
            },
            record,
        })
        .collect();
    let pod: Pod = fold(&entries).unwrap();
    PodView {
        pod: Arc::new(pod),
        ready: number % 2 == 1,
    }
}

#[test]
fn labels_must_all_be_there() {
    let web = view(1, "web", 0, 1);
    let wanted = |pairs: &[(&str, &str)]| {
        let owned = pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        has_labels(&web, &owned.collect())
    };
    assert!(wanted(&[]));
    assert!(wanted(&[("app", "web")]));
    assert!(!wanted(&[("app", "other")]));
    assert!(!wanted(&[("app", "web"), ("tier", "front")]));
}

#[test]
fn a_list_tells_who_and_how() {
    let ready = view(1, "web", 3, 1);
    let told = listed(&ready);
    assert_eq!(told.id, ready.pod.id.to_string());
    let metadata = told.metadata.unwrap();
    assert_eq!(metadata.attempt, 3);
    assert_eq!(metadata.uid, told.id, "crictl takes no pod without a uid");
    assert_eq!(told.state, v1::PodSandboxState::SandboxReady as i32);
    assert_eq!(told.labels["app"], "web");
    assert_eq!(told.created_at, 1);
    let down = view(2, "web", 3, 1);
    let told = listed(&down);
    assert_eq!(told.state, v1::PodSandboxState::SandboxNotready as i32);
}
