//! Namespaces, profiles, labels and ids.

use super::*;
use crate::spec::{IdMapping, Profile, Security, SelinuxLabel, Sharing, UserMappings};

const USERNS: &str = "namespace_options.userns_options";
const UIDS: &str = "namespace_options.userns_options.uids";
const GIDS: &str = "namespace_options.userns_options.gids";

fn run(container_id: u32, host_id: u32, length: u32) -> IdMapping {
    IdMapping {
        container_id,
        host_id,
        length,
    }
}

/// A pod with a user namespace, as kubelet asks for one.
fn namespaced(spec: &mut PodSpec) -> &mut UserMappings {
    let all = vec![run(0, 65_536, 65_536)];
    spec.security.user_namespace.insert(UserMappings {
        uids: all.clone(),
        gids: all,
    })
}

fn mapped(uids: &[IdMapping]) -> PodSpec {
    let mut spec = valid();
    namespaced(&mut spec).uids = uids.to_vec();
    spec
}

fn localhost(name: &str) -> Profile {
    Profile::Localhost(name.to_owned())
}

fn label(part: &str) -> SelinuxLabel {
    SelinuxLabel {
        level: part.to_owned(),
        ..SelinuxLabel::default()
    }
}

#[test]
fn all_of_it_together_is_taken() {
    let mut spec = valid();
    namespaced(&mut spec);
    let security = &mut spec.security;
    security.seccomp = localhost("/var/lib/kubelet/seccomp/a b.json");
    security.apparmor = localhost(&"a".repeat(255));
    security.selinux = Some(SelinuxLabel {
        user: "system_u".to_owned(),
        role: "system_r".to_owned(),
        kind: "container_t".to_owned(),
        level: "s0:c1,c2".to_owned(),
    });
    security.run_as_user = Some(65_535);
    security.run_as_group = Some(0);
    security.supplemental_groups = vec![0, 65_535];
    assert_eq!(spec.validate(), Ok(()));
    spec.network = NetworkMode::None;
    spec.ports.clear();
    spec.security.pid = Sharing::Container;
    assert_eq!(spec.validate(), Ok(()));
    spec.security = Security {
        run_as_user: Some(u32::MAX - 1),
        supplemental_groups: vec![u32::MAX - 1],
        selinux: Some(SelinuxLabel::default()),
        ..Security::default()
    };
    assert_eq!(spec.validate(), Ok(()));
}

#[test]
fn a_user_namespace_is_refused_where_it_would_own_nothing() {
    let wrong: [fn(&mut PodSpec); 5] = [
        |spec| spec.network = NetworkMode::Host,
        |spec| spec.network = NetworkMode::Pod(pod_id(2)),
        |spec| spec.security.pid = Sharing::Node,
        |spec| spec.security.ipc = Sharing::Node,
        |spec| spec.security.privileged = true,
    ];
    for change in wrong {
        let mut spec = valid();
        spec.ports.clear();
        spec.sysctls.clear();
        spec.hostname.clear();
        change(&mut spec);
        assert_eq!(spec.validate(), Ok(()), "without one it is right");
        namespaced(&mut spec);
        let error = spec.validate().unwrap_err();
        assert_eq!(error.field, USERNS, "{error}");
    }
}

#[test]
fn mappings_are_taken_up_to_their_limits() {
    let one_each = |count| (0..count).map(|id| run(id, id + 1_000, 1));
    let taken: [Vec<IdMapping>; 4] = [
        vec![run(0, 0, u32::MAX)],
        vec![run(0, u32::MAX - 1, 1)],
        vec![run(10, 10, 10), run(0, 30, 10), run(20, 20, 10)],
        one_each(340).collect(),
    ];
    for uids in taken {
        assert_eq!(mapped(&uids).validate(), Ok(()), "{uids:?}");
    }
}

/// Groups and mappings are counted one beside the other.
#[test]
fn many_groups_may_be_mapped() {
    let each: Vec<_> = (0..340).map(|id| run(id, id + 1_000, 1)).collect();
    let mut spec = valid();
    let users = namespaced(&mut spec);
    (users.uids, users.gids) = (each.clone(), each);
    spec.security.supplemental_groups = (0..340).collect();
    assert_eq!(spec.validate(), Ok(()));
}

#[test]
fn mappings_are_refused_that_the_kernel_would_refuse() {
    let too_many: Vec<_> = (0..341).map(|id| run(id, id, 1)).collect();
    let wrong: [(&[IdMapping], &str); 11] = [
        (&[], "nothing is mapped"),
        (&too_many, "341 mappings"),
        (&[run(0, 0, 0)], "length 0"),
        (&[run(0, 0, 10), run(5, 99, 0)], "length 0"),
        (&[run(0, u32::MAX, 1)], "beyond the last id"),
        (&[run(0, 1, u32::MAX)], "beyond the last id"),
        (
            &[run(0, 0, 1), run(u32::MAX, 7, 1)],
            "container_id 4294967295 goes beyond",
        ),
        (
            &[run(9, 50, 5), run(0, 0, 10)],
            "container_id 9 is mapped twice",
        ),
        (
            &[run(0, 100, 10), run(10, 91, 10)],
            "host_id 100 is mapped twice",
        ),
        (
            &[run(0, 0, 100), run(10, 200, 5)],
            "container_id 10 is mapped twice",
        ),
        (&[run(1, 1, 100)], "id 0 is not mapped"),
    ];
    for (mappings, problem) in wrong {
        let with = |field: fn(&mut UserMappings) -> &mut Vec<IdMapping>| {
            let mut spec = valid();
            *field(namespaced(&mut spec)) = mappings.to_vec();
            spec.validate().unwrap_err()
        };
        let (uids, gids) = (with(|both| &mut both.uids), with(|both| &mut both.gids));
        assert_eq!((uids.field.as_str(), gids.field.as_str()), (UIDS, GIDS));
        assert!(uids.problem.contains(problem), "{problem}: {uids}");
        assert_eq!(uids.problem, gids.problem);
    }
}

#[test]
fn ids_are_refused_that_are_none_alone_or_not_mapped() {
    refused(
        |spec| spec.security.run_as_user = Some(u32::MAX),
        "run_as_user",
    );
    refused(|spec| spec.security.run_as_group = Some(1), "run_as_group");
    refused(
        |spec| spec.security.supplemental_groups = vec![1, u32::MAX],
        "supplemental_groups",
    );
    let both = |user, group| {
        move |spec: &mut PodSpec| {
            spec.security.run_as_user = Some(user);
            spec.security.run_as_group = Some(group);
        }
    };
    refused(both(1, u32::MAX), "run_as_group");
    let inside = |change: &dyn Fn(&mut PodSpec), field| {
        let change = |spec: &mut PodSpec| {
            namespaced(spec);
            change(spec);
        };
        refused(change, field);
    };
    inside(&both(65_536, 0), "run_as_user");
    inside(&both(0, 65_536), "run_as_group");
    inside(
        &|spec| spec.security.supplemental_groups = vec![0, 70_000],
        "supplemental_groups",
    );
    // The ones of users are not those of groups.
    inside(
        &|spec| {
            both(9, 9)(spec);
            namespaced(spec).gids = vec![run(0, 0, 9)];
        },
        "run_as_group",
    );
}

#[test]
fn profiles_are_refused_that_name_nothing() {
    for path in ["", "profile.json", "/a/../b", "..", "/a\nb", "/a\0b"] {
        refused(|spec| spec.security.seccomp = localhost(path), "seccomp");
    }
    for name in ["", "two words", "a\tb", "a\0b", "a\u{7f}", &"a".repeat(256)] {
        refused(|spec| spec.security.apparmor = localhost(name), "apparmor");
    }
    for path in ["/", "/a..b", "/..a/b.."] {
        let mut spec = valid();
        spec.security.seccomp = localhost(path);
        assert_eq!(spec.validate(), Ok(()), "{path}");
    }
}

#[test]
fn parts_of_labels_are_refused_that_would_be_several() {
    type Part = fn(&mut SelinuxLabel) -> &mut String;
    let parts: [(Part, &str); 4] = [
        (|label| &mut label.user, "selinux_options.user"),
        (|label| &mut label.role, "selinux_options.role"),
        (|label| &mut label.kind, "selinux_options.type"),
        (|label| &mut label.level, "selinux_options.level"),
    ];
    for (part, field) in parts {
        for wrong in ["a b", "a\n", "a\0", "\u{1b}", "a:b"] {
            let mut given = label("s0");
            *part(&mut given) = wrong.to_owned();
            let mut spec = valid();
            spec.security.selinux = Some(given);
            let told = spec.validate();
            match (wrong, field) {
                ("a:b", "selinux_options.level") => assert_eq!(told, Ok(())),
                _ => assert_eq!(told.unwrap_err().field, field, "{wrong:?}"),
            }
        }
    }
}

#[test]
fn what_is_long_is_refused_by_its_size() {
    let mib = "x".repeat(1 << 20);
    refused(
        |spec| spec.security.seccomp = localhost(&format!("/{mib}")),
        "seccomp",
    );
    refused(|spec| spec.security.apparmor = localhost(&mib), "apparmor");
    refused(
        |spec| spec.security.selinux = Some(label(&mib)),
        "selinux_options.level",
    );
    let many = vec![run(0, 0, 1); 30_000];
    refused(|spec| namespaced(spec).uids = many.clone(), largest());
    refused(|spec| namespaced(spec).gids = many.clone(), largest());
}
