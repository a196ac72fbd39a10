use super::*;
use serde_json::{Value, json};

fn written(change: impl FnOnce(&mut Resources)) -> Value {
    let mut wanted = Resources::default();
    change(&mut wanted);
    serde_json::to_value(resources(&wanted, CgroupLayout::V2).unwrap()).unwrap()
}

#[test]
fn only_limits_that_were_asked_for_are_written() {
    assert_eq!(written(|_| ()), json!({}));
    assert_eq!(
        written(|limits| limits.cpu_shares = Some(2)),
        json!({"cpu": {"shares": 2}})
    );
    assert_eq!(
        written(|limits| limits.cpu_quota = Some(3)),
        json!({"cpu": {"quota": 3}})
    );
    assert_eq!(
        written(|limits| limits.cpu_period = Some(4)),
        json!({"cpu": {"period": 4}})
    );
    let list = || Some("0-1".to_owned());
    assert_eq!(
        written(|limits| limits.cpuset_cpus = list()),
        json!({"cpu": {"cpus": "0-1"}})
    );
    assert_eq!(
        written(|limits| limits.cpuset_mems = list()),
        json!({"cpu": {"mems": "0-1"}})
    );
    assert_eq!(
        written(|limits| limits.memory_limit = Some(-1)),
        json!({"memory": {"limit": -1}})
    );
    assert_eq!(
        written(|limits| limits.memory_swap_limit = Some(9)),
        json!({"memory": {"swap": 9}})
    );
    assert_eq!(
        written(|limits| limits.pids_limit = Some(7)),
        json!({"pids": {"limit": 7}})
    );
}

#[test]
fn huge_pages_are_listed_by_their_size() {
    let value = written(|limits| {
        limits.hugepages.insert("2MB".to_owned(), 4 << 20);
        limits.hugepages.insert("1GB".to_owned(), 0);
    });
    let expected = json!([
        {"pageSize": "1GB", "limit": 0},
        {"pageSize": "2MB", "limit": 4_194_304},
    ]);
    assert_eq!(value, json!({"hugepageLimits": expected}));
}

#[test]
fn files_of_version_2_are_refused_by_name_where_version_1_is() {
    let mut wanted = Resources::default();
    wanted
        .unified
        .insert("memory.high".to_owned(), "max".to_owned());
    for layout in [CgroupLayout::V2, CgroupLayout::None] {
        let value = serde_json::to_value(resources(&wanted, layout).unwrap()).unwrap();
        assert_eq!(
            value,
            json!({"unified": {"memory.high": "max"}}),
            "{layout}"
        );
    }
    for layout in [CgroupLayout::V1, CgroupLayout::Hybrid] {
        let error = resources(&wanted, layout).unwrap_err();
        assert!(matches!(error, ConfigError::Unified { .. }), "{error}");
        let text = error.to_string();
        assert!(
            text.contains("memory.high") && text.contains(&layout.to_string()),
            "{text}"
        );
    }
}
