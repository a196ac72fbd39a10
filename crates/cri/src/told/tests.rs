use std::sync::Arc;

use podwalk_engine::clock::Stamp;
use podwalk_engine::id::{BootId, InstanceId};
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
            spec,
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
fn a_later_attempt_is_never_the_older_one() {
    // The wall clock went back twice.
    let views = [
        view(1, "web", 0, 500),
        view(2, "web", 1, 300),
        view(3, "web", 2, 400),
        view(4, "other", 7, 100),
    ];
    let ages = Ages::of(views.iter());
    let told: Vec<_> = views
        .iter()
        .map(|view| listed(view, &ages).created_at)
        .collect();
    assert_eq!(told, [500, 501, 502, 100]);
    let forward = [view(1, "web", 0, 10), view(2, "web", 1, 20)];
    let ages = Ages::of(forward.iter());
    assert_eq!(
        ages.age(&forward[1]),
        20,
        "a clock that goes on is believed"
    );
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
    let told = listed(&ready, &Ages::of([&ready].into_iter()));
    assert_eq!(told.id, ready.pod.id.to_string());
    assert_eq!(told.metadata.unwrap().attempt, 3);
    assert_eq!(told.state, v1::PodSandboxState::SandboxReady as i32);
    assert_eq!(told.labels["app"], "web");
    let down = view(2, "web", 3, 1);
    let told = listed(&down, &Ages::of([&down].into_iter()));
    assert_eq!(told.state, v1::PodSandboxState::SandboxNotready as i32);
}
