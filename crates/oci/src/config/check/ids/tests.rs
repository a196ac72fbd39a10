use super::*;
use crate::id::SandboxId;

fn config() -> SandboxConfig {
    SandboxConfig::new(SandboxId::new("pod-1").unwrap())
}

fn run(container_id: u32, host_id: u32, length: u32) -> IdMapping {
    IdMapping {
        container_id,
        host_id,
        length,
    }
}

fn with_namespace(change: impl FnOnce(&mut UserNamespace)) -> SandboxConfig {
    let mut namespace = UserNamespace {
        path: None,
        uids: vec![run(0, 100_000, 65536)],
        gids: vec![run(0, 200_000, 65536)],
    };
    change(&mut namespace);
    SandboxConfig {
        user_namespace: Some(namespace),
        ..config()
    }
}

/// Which field of the user namespace is refused.
fn refused(config: &SandboxConfig) -> Option<&'static str> {
    match config.check() {
        Ok(()) => None,
        Err(ConfigError::UserNamespace { field, .. }) => Some(field),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn takes_the_usual_user_namespaces() {
    assert_eq!(refused(&with_namespace(|_| ())), None);
    let by_path = with_namespace(|namespace| namespace.path = Some("/proc/7/fd/9".into()));
    assert_eq!(refused(&by_path), None);
    let touching = with_namespace(|namespace| {
        namespace.uids = vec![run(1000, 500_000, 64536), run(0, 499_000, 1000)];
    });
    assert_eq!(refused(&touching), None);
}

#[test]
fn refuses_a_path_that_does_not_stand_alone() {
    for path in ["", "user", "./x", "/run/a\0b"] {
        let config = with_namespace(|namespace| namespace.path = Some(path.into()));
        assert_eq!(refused(&config), Some("path"), "{path:?}");
    }
}

#[test]
fn refuses_mappings_that_the_kernel_would_refuse() {
    let wrong: [(&str, Vec<IdMapping>); 7] = [
        ("none", vec![]),
        ("no root", vec![run(1, 100_000, 65536)]),
        (
            "an empty one",
            vec![run(0, 100_000, 65536), run(70_000, 5, 0)],
        ),
        (
            "beyond the ids inside",
            vec![run(0, 1, 9), run(u32::MAX, 100, 1)],
        ),
        ("beyond the ids outside", vec![run(0, u32::MAX - 9, 65536)]),
        (
            "twice inside",
            vec![run(0, 1, 65536), run(65535, 100_000, 9)],
        ),
        (
            "twice outside",
            vec![run(0, 1000, 65536), run(65536, 66_535, 9)],
        ),
    ];
    for (what, mappings) in wrong {
        let uids = with_namespace(|namespace| namespace.uids = mappings.clone());
        assert_eq!(refused(&uids), Some("uids"), "{what}");
        let gids = with_namespace(|namespace| namespace.gids = mappings);
        assert_eq!(refused(&gids), Some("gids"), "{what}");
    }
}

#[test]
fn refuses_more_lines_than_the_kernel_takes() {
    let lines = |count: u32| {
        // One by one, and the rest so that the process's own ids are mapped.
        let mut mappings: Vec<_> = (0..count - 1).map(|id| run(id, id, 1)).collect();
        mappings.push(run(count - 1, 100_000, 65536));
        with_namespace(|namespace| namespace.uids = mappings)
    };
    assert_eq!(refused(&lines(340)), None);
    assert_eq!(refused(&lines(341)), Some("uids"));
}

#[test]
fn refuses_the_hosts_process_ids_in_a_user_namespace() {
    let mut config = with_namespace(|_| ());
    config.pid = NamespaceScope::Node;
    assert_eq!(refused(&config), Some("pid"));
    config.user_namespace = None;
    config.check().unwrap();
}

#[test]
fn refuses_ids_that_are_not_mapped() {
    let narrow = |change: fn(&mut SandboxConfig)| {
        let mut config = with_namespace(|namespace| {
            (namespace.uids[0].length, namespace.gids[0].length) = (1000, 1000);
        });
        (config.run_as_user, config.run_as_group) = (Some(999), Some(999));
        config.supplemental_groups = vec![0, 999];
        config.check().unwrap();
        change(&mut config);
        match config.check().unwrap_err() {
            ConfigError::UserId { field, id, .. } => (field, id),
            other => panic!("{other}"),
        }
    };
    assert_eq!(
        narrow(|config| config.run_as_user = Some(1000)),
        ("user", 1000)
    );
    assert_eq!(narrow(|config| config.run_as_user = None), ("user", 65535));
    assert_eq!(
        narrow(|config| config.run_as_group = None),
        ("group", 65535)
    );
    assert_eq!(
        narrow(|config| config.supplemental_groups.push(1000)),
        ("supplemental group", 1000)
    );
}

#[test]
fn refuses_ids_that_runtimes_refuse() {
    let with = |user: u32, group: u32, further: u32| SandboxConfig {
        run_as_user: Some(user),
        run_as_group: Some(group),
        supplemental_groups: vec![further],
        ..config()
    };
    let high = 1 << 31;
    with(0, high - 1, high - 1).check().unwrap();
    for wrong in [with(high, 0, 0), with(0, high, 0), with(0, 0, u32::MAX)] {
        let error = wrong.check().unwrap_err();
        assert!(matches!(error, ConfigError::UserId { .. }), "{error}");
    }
}

#[test]
fn who_was_not_given_owns_nothing() {
    let mut config = config();
    assert_eq!((config.user(), config.group()), (65535, 65535));
    config.run_as_user = Some(0);
    assert_eq!((config.user(), config.group()), (0, 65535));
    config.run_as_group = Some(7);
    assert_eq!((config.user(), config.group()), (0, 7));
}
