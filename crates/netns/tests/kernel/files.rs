//! Everything that can stand on a sandbox key's path, and what each verb does with it.

use std::fs;
use std::path::Path;

use podwalk_netns::{
    Error, Foreign, Found, Identity, enter, is_on, lo_up, pin, place, probe, set_sysctls, sweep,
    unlink, unpin,
};

use crate::node::{self, mount_lines, node_tests, sh};

const POD: &str = "/run/netns/pod";

fn pod() -> &'static Path {
    Path::new(POD)
}

fn foreign(path: &Path) -> Foreign {
    match probe(path).unwrap() {
        Found::Foreign(foreign) => foreign,
        other => panic!("{} is {other:?}", path.display()),
    }
}

node_tests! {
    fn a_whole_life_of_a_namespace_file() {
        assert_eq!(probe(pod()).unwrap(), Found::Missing);
        place(pod()).unwrap();
        assert_eq!(probe(pod()).unwrap(), Found::Empty);
        let identity = pin(pod()).unwrap();
        assert_eq!(probe(pod()).unwrap(), Found::Namespace { identity, mounts: 1 });
        assert!(matches!(place(pod()), Err(Error::Mounted { .. })));
        assert!(matches!(unlink(pod()), Err(Error::Mounted { .. })));
        for _ in 0..2 {
            unpin(pod()).unwrap();
            assert_eq!(probe(pod()).unwrap(), Found::Empty);
        }
        for _ in 0..2 {
            unlink(pod()).unwrap();
            assert_eq!(probe(pod()).unwrap(), Found::Missing);
        }
    }

    fn a_namespace_is_known_by_all_of_its_identity() {
        place(pod()).unwrap();
        let identity = pin(pod()).unwrap();
        assert!(is_on(pod(), &identity).unwrap());
        // The number of one that is gone is given away again; its cookie never.
        let cookie = identity.cookie + 1;
        assert!(!is_on(pod(), &Identity { cookie, ..identity }).unwrap());
        let boot_id = [0; 16];
        assert!(!is_on(pod(), &Identity { boot_id, ..identity }).unwrap());
        let inode = identity.inode + 1;
        assert!(!is_on(pod(), &Identity { inode, ..identity }).unwrap());
        sh(&format!("mount --bind /proc/self/ns/net {POD}"));
        assert!(!is_on(pod(), &identity).unwrap(), "the topmost one counts");
        sh(&format!("umount {POD}"));
        assert!(is_on(pod(), &identity).unwrap());
        unpin(pod()).unwrap();
        assert!(!is_on(pod(), &identity).unwrap(), "a placeholder");
        unlink(pod()).unwrap();
        assert!(!is_on(pod(), &identity).unwrap(), "nothing");
    }

    fn scenario_16_a_stack_of_binds_is_seen_and_cleared() {
        place(pod()).unwrap();
        let identity = pin(pod()).unwrap();
        assert!(matches!(pin(pod()), Err(Error::Mounted { .. })));
        assert_eq!(mount_lines(pod()), 1);
        sh(&format!("mount --bind {POD} {POD}; mount --bind /proc/self/ns/net {POD}"));
        match probe(pod()).unwrap() {
            Found::Namespace { identity: top, mounts } => {
                assert_eq!(mounts, 3);
                assert_ne!(top, identity, "the topmost one counts");
            }
            other => panic!("{other:?}"),
        }
        unpin(pod()).unwrap();
        assert_eq!(mount_lines(pod()), 0);
        assert_eq!(probe(pod()).unwrap(), Found::Empty);
        unlink(pod()).unwrap();
    }

    fn scenario_09_unpin_succeeds_twice_for_every_kind_of_file() {
        fs::write("/run/netns/full", "precious").unwrap();
        fs::write("/run/netns/empty", "").unwrap();
        fs::write("/run/netns/covered", "").unwrap();
        sh("mount --bind /run/netns/full /run/netns/covered");
        assert!(matches!(foreign(Path::new("/run/netns/covered")), Foreign::OtherMount { .. }));
        for name in ["missing", "full", "empty", "covered"] {
            let path = Path::new("/run/netns").join(name);
            unpin(&path).unwrap();
            unpin(&path).unwrap();
            assert_eq!(mount_lines(&path), 0);
        }
        assert_eq!(probe(Path::new("/run/netns/covered")).unwrap(), Found::Empty);
        assert_eq!(fs::read_to_string("/run/netns/full").unwrap(), "precious");
    }

    fn scenario_42_what_is_no_network_namespace_is_refused() {
        place(pod()).unwrap();
        let refused = |expected: fn(&Error) -> bool| {
            let answers = [
                enter(pod(), || ()).unwrap_err(),
                lo_up(pod()).unwrap_err(),
                set_sysctls(pod(), &[("net.core.somaxconn".into(), "9".into())].into()).unwrap_err(),
            ];
            for error in answers {
                assert!(expected(&error), "{error}");
                assert!(error.to_string().contains(POD), "{error}");
            }
        };
        refused(|error| matches!(error, Error::NotPinned { .. }));
        sh(&format!("mount --bind /proc/self/ns/uts {POD}"));
        assert_eq!(foreign(pod()), Foreign::OtherNamespace("uts"));
        refused(Error::is_foreign);
        assert!(matches!(pin(pod()), Err(Error::Mounted { .. })));
        unpin(pod()).unwrap();
        unlink(pod()).unwrap();
        refused(|error| matches!(error, Error::Missing { .. }));
    }

    fn scenario_51_an_operators_unmount_leaves_an_empty_file() {
        place(pod()).unwrap();
        pin(pod()).unwrap();
        sh(&format!("umount {POD}"));
        assert_eq!(probe(pod()).unwrap(), Found::Empty);
        unpin(pod()).unwrap();
        let again = pin(pod()).unwrap();
        assert_eq!(probe(pod()).unwrap(), Found::Namespace { identity: again, mounts: 1 });
    }

    fn without_the_right_to_unshare_the_error_says_who_has_it() {
        if node::role().is_some() {
            nix::unistd::setuid(nix::unistd::Uid::from_raw(65534)).unwrap();
            let error = pin(pod()).unwrap_err().to_string();
            assert!(error.contains(POD), "{error}");
            assert!(error.contains("run as root with CAP_SYS_ADMIN"), "{error}");
            return;
        }
        place(pod()).unwrap();
        let test = "files::without_the_right_to_unshare_the_error_says_who_has_it";
        assert!(node::play(test, "nobody").status().unwrap().success());
        assert_eq!(probe(pod()).unwrap(), Found::Empty);
    }

    fn a_symbolic_link_is_never_followed() {
        place(pod()).unwrap();
        let identity = pin(pod()).unwrap();
        let link = Path::new("/run/netns/link");
        std::os::unix::fs::symlink(POD, link).unwrap();
        assert_eq!(foreign(link), Foreign::SymbolicLink);
        assert!(pin(link).unwrap_err().is_foreign());
        assert!(place(link).unwrap_err().is_foreign());
        assert!(enter(link, || ()).unwrap_err().is_foreign());
        assert!(unlink(link).unwrap_err().is_foreign());
        unpin(link).unwrap();
        assert_eq!(probe(pod()).unwrap(), Found::Namespace { identity, mounts: 1 });
    }

    fn a_linked_directory_is_followed_and_the_mount_found_in_the_table() {
        std::os::unix::fs::symlink("/run", "/run/alias").unwrap();
        let alias = Path::new("/run/alias/netns/pod");
        place(alias).unwrap();
        let identity = pin(alias).unwrap();
        assert_eq!(probe(pod()).unwrap(), Found::Namespace { identity, mounts: 1 });
        sh(&format!("mount --bind {POD} {POD}"));
        assert_eq!(probe(alias).unwrap(), Found::Namespace { identity, mounts: 2 });
        unpin(alias).unwrap();
        assert_eq!(mount_lines(pod()), 0);
        unlink(alias).unwrap();
        assert_eq!(probe(pod()).unwrap(), Found::Missing);
    }

    fn a_name_that_the_mount_table_escapes_is_found() {
        let path = Path::new("/run/netns/a pod\twith \\ and #");
        place(path).unwrap();
        let identity = pin(path).unwrap();
        assert_eq!(probe(path).unwrap(), Found::Namespace { identity, mounts: 1 });
        unpin(path).unwrap();
        unlink(path).unwrap();
    }

    fn a_mounted_directory_is_left_alone() {
        let path = Path::new("/run/netns/directory");
        fs::create_dir(path).unwrap();
        unpin(path).unwrap();
        sh("mount -t tmpfs none /run/netns/directory");
        assert!(unpin(path).unwrap_err().is_foreign());
        assert_eq!(mount_lines(path), 1);
    }

    fn a_sweep_takes_our_pins_and_stacks_and_no_others() {
        for name in ["ours-1", "ours-2", "theirs"] {
            let path = Path::new("/run/netns").join(name);
            place(&path).unwrap();
            pin(&path).unwrap();
        }
        sh("mount --bind /run/netns/ours-2 /run/netns/ours-2");
        let swept = sweep(Path::new("/run/netns"), |name| name.starts_with("ours-")).unwrap();
        assert_eq!(swept.len(), 2);
        assert!(swept.iter().all(|one| one.outcome.is_ok()), "{swept:?}");
        let left: Vec<_> = fs::read_dir("/run/netns").unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["theirs"]);
        assert!(matches!(probe(Path::new("/run/netns/theirs")).unwrap(), Found::Namespace { .. }));
    }
}
