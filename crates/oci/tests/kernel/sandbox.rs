//! Real sandboxes by real runtimes: what they are, how they end, and that nothing is left.

use crate::node::Layout;

everywhere! {
    /// It is in the named namespace, has its names, and may do nothing.
    is_what_was_asked_for;
    /// The host's network and process namespaces, where that is asked for.
    shares_the_hosts_namespaces_when_told;
    /// Its end is noticed by its pidfd; afterwards the runtime says stopped.
    scenario_26_an_exit_is_noticed_and_cleaned_up;
    /// Every undo may be repeated, and finds nothing the second time.
    is_killed_and_deleted_twice;
    /// `create` without `start` is told from nothing and from a running sandbox.
    is_probed_between_create_and_start;
    /// A new bundle may be written over an old one, and the bundle is not needed to delete.
    is_deleted_without_its_bundle;
    /// Processes in the cgroup count, whatever the runtime has forgotten.
    scenario_39_is_ended_when_the_runtime_lost_its_state;
    /// What is named as a namespace must be one.
    scenario_42_a_plain_file_is_no_namespace;
    /// A limit is kept, or refused by name where its controller is not there.
    a_limit_is_kept_or_refused;
    /// The parent goes with the last sandbox, not before.
    the_parent_goes_with_the_last_sandbox;
}

/// As long as a process of the sandbox lives, nothing else is said: one in a frozen cgroup does
/// not even die of SIGKILL.
#[test]
fn scenario_52_a_kill_that_hangs_is_no_success() {
    crate::node::enter(
        concat!(
            module_path!(),
            "::scenario_52_a_kill_that_hangs_is_no_success"
        ),
        Layout::V1,
        "crun",
        bodies::scenario_52_a_kill_that_hangs_is_no_success,
    );
}

/// crun refuses this layout, and the error says what to do.
#[test]
fn a_hybrid_layout_is_refused_by_name() {
    crate::node::enter(
        concat!(module_path!(), "::a_hybrid_layout_is_refused_by_name"),
        Layout::Hybrid,
        "crun",
        bodies::a_hybrid_layout_is_refused_by_name,
    );
}

mod bodies {
    use std::fs;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use podwalk_oci::{
        Bundle, CgroupLayout, NamespaceScope, OciError, Probe, ProcessIdentity, ProcessWatch,
        SandboxId, Target, cgroup_layout,
    };

    use crate::node::{Layout, World, until};
    use crate::seen::{namespace, status};

    /// The output of a command in namespaces of a process.
    fn within(pid: u32, namespaces: &str, command: &[&str]) -> String {
        let mut nsenter = Command::new("nsenter");
        nsenter
            .args(["-t", &pid.to_string(), namespaces])
            .args(command);
        String::from_utf8(nsenter.output().unwrap().stdout)
            .unwrap()
            .trim()
            .to_owned()
    }

    fn kill(process: ProcessIdentity) {
        ProcessWatch::open(process)
            .unwrap()
            .unwrap()
            .kill()
            .unwrap();
    }

    pub(crate) async fn is_what_was_asked_for(world: World) {
        let mut config = world.config();
        config
            .sysctls
            .insert("kernel.shm_rmid_forced".to_owned(), "1".to_owned());
        config
            .sysctls
            .insert("net.ipv4.ip_forward".to_owned(), "1".to_owned());
        config.oom_score_adj = Some(100);
        let bundle = Bundle::write(&config, &world.bundles).unwrap();
        let process = world
            .runtime
            .create_and_start(&bundle)
            .await
            .unwrap()
            .process;
        let pid = process.pid;
        let own = std::process::id();

        assert_eq!(
            namespace(pid, "net"),
            fs::metadata(&world.netns).unwrap().ino()
        );
        for kind in ["net", "mnt", "uts", "ipc", "pid"] {
            assert_ne!(namespace(pid, kind), namespace(own, kind), "{kind}");
        }
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(status(pid, set), "0000000000000000", "{set}");
        }
        assert_eq!(status(pid, "NoNewPrivs"), "1");
        assert_eq!(status(pid, "Seccomp"), "2");
        assert_eq!(status(pid, "Name"), "pause");
        assert_eq!(status(pid, "Uid").split_whitespace().next(), Some("65535"));
        assert_eq!(
            fs::read_to_string(format!("/proc/{pid}/oom_score_adj"))
                .unwrap()
                .trim(),
            "100"
        );
        assert_eq!(within(pid, "-u", &["hostname"]), "web-0");
        let forced = within(pid, "-i", &["cat", "/proc/sys/kernel/shm_rmid_forced"]);
        assert_eq!(forced, "1");
        // It was given by the runtime to nobody: the namespace's settings are its maker's.
        let forward = within(pid, "-n", &["cat", "/proc/sys/net/ipv4/ip_forward"]);
        assert_eq!(forward, "0");
        assert_files_and_mounts(pid);
        for cgroup in world.cgroups(&world.target()) {
            let procs = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap();
            assert_eq!(procs.trim(), pid.to_string(), "{}", cgroup.display());
        }

        let target = Target {
            process: Some(process),
            ..world.target()
        };
        assert_eq!(
            world.runtime.probe(&target).await.unwrap(),
            Probe::Running { process }
        );
        world.runtime.delete(&target).await.unwrap();
        Bundle::remove(&world.bundles, &target.id).unwrap();
        world.assert_nothing_left();
    }

    fn assert_files_and_mounts(pid: u32) {
        let root = Path::new("/proc").join(pid.to_string()).join("root");
        let etc = |name: &str| fs::read_to_string(root.join("etc").join(name)).unwrap();
        assert_eq!(etc("hostname"), "web-0\n");
        assert!(
            etc("hosts").contains("10.1.2.3\tweb-0\n"),
            "{}",
            etc("hosts")
        );
        let expected = "search default.svc svc\nnameserver 10.0.0.10\noptions ndots:5\n";
        assert_eq!(etc("resolv.conf"), expected);

        let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
        let options = |point: &str| {
            let line = mounts
                .lines()
                .rfind(|line| line.split(' ').nth(4) == Some(point));
            line.unwrap_or_else(|| panic!("{point} in {mounts}"))
                .split(' ')
                .nth(5)
                .unwrap()
                .to_owned()
        };
        for read_only in ["/", "/sys", "/pause", "/proc/sys"] {
            assert!(
                options(read_only).starts_with("ro"),
                "{read_only} in {mounts}"
            );
        }
        let masked = ["proc/interrupts", "proc/keys", "proc/timer_list"];
        let telling =
            |path: &&str| fs::read(Path::new("/").join(path)).is_ok_and(|bytes| !bytes.is_empty());
        let masked: Vec<&str> = masked.into_iter().filter(telling).collect();
        assert!(!masked.is_empty(), "this kernel has nothing to mask");
        for path in masked {
            assert_eq!(fs::read(root.join(path)).unwrap(), b"", "{path} is masked");
        }
        // It holds no pipe of ours: whoever waits for the end of one would wait for ever.
        for descriptor in fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
            let file = fs::read_link(descriptor.unwrap().path()).unwrap();
            assert_eq!(file, Path::new("/dev/null"));
        }
    }

    pub(crate) async fn shares_the_hosts_namespaces_when_told(world: World) {
        let mut config = world.config();
        (config.netns, config.hostname, config.dns) = (None, None, None);
        (config.pid, config.ipc) = (NamespaceScope::Node, NamespaceScope::Node);
        let bundle = Bundle::write(&config, &world.bundles).unwrap();
        let process = world
            .runtime
            .create_and_start(&bundle)
            .await
            .unwrap()
            .process;
        for kind in ["net", "uts", "ipc", "pid"] {
            assert_eq!(
                namespace(process.pid, kind),
                namespace(std::process::id(), kind),
                "{kind}"
            );
        }
        let resolv = format!("/proc/{}/root/etc/resolv.conf", process.pid);
        assert_eq!(
            fs::read(resolv).unwrap(),
            fs::read("/etc/resolv.conf").unwrap_or_default()
        );
        world.runtime.delete(&world.target()).await.unwrap();
        Bundle::remove(&world.bundles, &config.id).unwrap();
        world.assert_nothing_left();
    }

    pub(crate) async fn scenario_26_an_exit_is_noticed_and_cleaned_up(world: World) {
        let target = world.start().await;
        let process = target.process.unwrap();
        let watch = ProcessWatch::open(process).unwrap().unwrap();
        assert!(watch.is_alive().unwrap());
        kill(process);
        watch.exited().await.unwrap();
        assert!(!watch.is_alive().unwrap());
        assert_eq!(world.runtime.probe(&target).await.unwrap(), Probe::Stopped);
        assert_eq!(
            world.runtime.probe(&world.target()).await.unwrap(),
            Probe::Stopped
        );
        world.runtime.delete(&target).await.unwrap();
        assert_eq!(world.runtime.probe(&target).await.unwrap(), Probe::Absent);
        Bundle::remove(&world.bundles, &target.id).unwrap();
        world.assert_nothing_left();
    }

    pub(crate) async fn is_killed_and_deleted_twice(world: World) {
        let target = world.start().await;
        world.runtime.kill(&target).await.unwrap();
        assert_eq!(
            ProcessWatch::open(target.process.unwrap())
                .unwrap()
                .map(|_| ()),
            None
        );
        world.runtime.kill(&target).await.unwrap();
        world.runtime.delete(&target).await.unwrap();
        world.runtime.delete(&target).await.unwrap();
        world.runtime.kill(&target).await.unwrap();
        for _ in 0..2 {
            Bundle::remove(&world.bundles, &target.id).unwrap();
        }
        world.assert_nothing_left();
        // The same id may be used again.
        let again = world.start().await;
        world
            .runtime
            .delete(&Target {
                process: None,
                ..again.clone()
            })
            .await
            .unwrap();
        Bundle::remove(&world.bundles, &again.id).unwrap();
        world.assert_nothing_left();
    }

    pub(crate) async fn is_probed_between_create_and_start(world: World) {
        let target = world.target();
        assert_eq!(world.runtime.probe(&target).await.unwrap(), Probe::Absent);
        let bundle = Bundle::write(&world.config(), &world.bundles).unwrap();
        let handler = world.runtime.handler();
        let created = Command::new(&handler.binary)
            .arg("--root")
            .arg(&handler.root)
            .args(["create", "--bundle"])
            .arg(bundle.dir())
            .arg(target.id.as_str())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(created.unwrap().success());
        let Probe::Created { process } = world.runtime.probe(&target).await.unwrap() else {
            panic!("{:?}", world.runtime.probe(&target).await);
        };
        assert!(ProcessWatch::open(process).unwrap().is_some());
        world.runtime.delete(&target).await.unwrap();
        assert!(ProcessWatch::open(process).unwrap().is_none());
        Bundle::remove(&world.bundles, &target.id).unwrap();
        world.assert_nothing_left();
    }

    pub(crate) async fn is_deleted_without_its_bundle(world: World) {
        let target = world.start().await;
        Bundle::write(&world.config(), &world.bundles).unwrap();
        Bundle::remove(&world.bundles, &target.id).unwrap();
        let process = target.process.unwrap();
        assert_eq!(
            world.runtime.probe(&target).await.unwrap(),
            Probe::Running { process }
        );
        world.runtime.delete(&target).await.unwrap();
        world.assert_nothing_left();
    }

    pub(crate) async fn scenario_39_is_ended_when_the_runtime_lost_its_state(world: World) {
        let target = world.start().await;
        fs::remove_dir_all(world.runtime.handler().root.join(target.id.as_str())).unwrap();
        for known in [&target, &world.target()] {
            let found = world.runtime.probe(known).await.unwrap();
            assert!(matches!(found, Probe::Partial { .. }), "{found:?}");
        }
        // Not even the runtime is there any more.
        let without = world
            .clone()
            .with_handler(|handler| handler.binary = "/nowhere/crun".into());
        without.runtime.delete(&world.target()).await.unwrap();
        assert!(
            ProcessWatch::open(target.process.unwrap())
                .unwrap()
                .is_none()
        );
        Bundle::remove(&world.bundles, &target.id).unwrap();
        world.assert_nothing_left();

        // With a state that only the missing runtime can remove, the process still ends, and
        // the rest is owed.
        let target = world.start().await;
        let owed = without.runtime.delete(&target).await;
        assert!(
            matches!(owed, Err(OciError::RuntimeMissing { .. })),
            "{owed:?}"
        );
        assert!(
            ProcessWatch::open(target.process.unwrap())
                .unwrap()
                .is_none()
        );
        world.runtime.delete(&target).await.unwrap();
        Bundle::remove(&world.bundles, &target.id).unwrap();
        world.assert_nothing_left();
    }

    pub(crate) async fn scenario_42_a_plain_file_is_no_namespace(world: World) {
        let mut config = world.config();
        fs::write("/run/plain", "").unwrap();
        config.netns = Some("/run/plain".into());
        let bundle = Bundle::write(&config, &world.bundles).unwrap();
        let refused = world.runtime.create_and_start(&bundle).await.unwrap_err();
        assert!(
            matches!(refused, OciError::NotANamespace { .. }),
            "{refused}"
        );
        assert!(refused.nothing_begun());
        config.netns = Some("/run/netns/none".into());
        let bundle = Bundle::write(&config, &world.bundles).unwrap();
        let refused = world.runtime.create_and_start(&bundle).await.unwrap_err();
        assert!(matches!(refused, OciError::Namespace { .. }), "{refused}");
        assert_eq!(
            world.runtime.probe(&world.target()).await.unwrap(),
            Probe::Absent
        );
        Bundle::remove(&world.bundles, &config.id).unwrap();
        world.assert_nothing_left();
    }

    pub(crate) async fn a_limit_is_kept_or_refused(world: World) {
        let mut config = world.config();
        config.resources.pids_limit = Some(64);
        let bundle = Bundle::write(&config, &world.bundles).unwrap();
        let started = world.runtime.create_and_start(&bundle).await;
        if world.layout == Layout::V1 {
            let process = started.unwrap().process;
            let limit = Path::new("/sys/fs/cgroup/pids")
                .join(world.target().cgroup.as_str().trim_start_matches('/'))
                .join("pids.max");
            assert_eq!(fs::read_to_string(limit).unwrap().trim(), "64");
            assert!(ProcessWatch::open(process).unwrap().is_some());
        } else {
            let error = started.unwrap_err();
            assert!(
                matches!(error, OciError::CgroupLayoutRefused { .. }),
                "{error}"
            );
            assert!(error.to_string().contains("pids"), "{error}");
        }
        world.runtime.delete(&world.target()).await.unwrap();
        Bundle::remove(&world.bundles, &config.id).unwrap();
        world.assert_nothing_left();
    }

    pub(crate) async fn the_parent_goes_with_the_last_sandbox(world: World) {
        let first = world.start().await;
        let mut config = world.config();
        config.id = SandboxId::new("pod-2").unwrap();
        let bundle = Bundle::write(&config, &world.bundles).unwrap();
        world.runtime.create_and_start(&bundle).await.unwrap();
        world.runtime.delete(&first).await.unwrap();
        for cgroup in world.cgroups(&first) {
            assert!(!cgroup.exists() && cgroup.parent().unwrap().exists());
        }
        world
            .runtime
            .delete(&config.target().unwrap())
            .await
            .unwrap();
        for id in [&first.id, &config.id] {
            Bundle::remove(&world.bundles, id).unwrap();
        }
        world.assert_nothing_left();
    }

    pub(crate) async fn scenario_52_a_kill_that_hangs_is_no_success(world: World) {
        let world =
            world.with_handler(|handler| handler.deadlines.kill = Duration::from_millis(200));
        let target = world.start().await;
        let freezer = Path::new("/sys/fs/cgroup/freezer")
            .join(target.cgroup.as_str().trim_start_matches('/'))
            .join("freezer.state");
        fs::write(&freezer, "FROZEN").unwrap();
        until("it is frozen", || {
            fs::read_to_string(&freezer).unwrap().trim() == "FROZEN"
        });
        let process = target.process.unwrap();
        for known in [&target, &world.target()] {
            for _ in 0..2 {
                let hangs = world.runtime.delete(known).await.unwrap_err();
                assert!(
                    matches!(hangs, OciError::StillAlive { pid, .. } if pid == process.pid),
                    "{hangs}"
                );
            }
        }
        assert!(ProcessWatch::open(process).unwrap().is_some());
        let found = world.runtime.probe(&target).await.unwrap();
        assert_eq!(found, Probe::Running { process });
        fs::write(&freezer, "THAWED").unwrap();
        let world = world.with_handler(|handler| handler.deadlines.kill = Duration::from_secs(30));
        world.runtime.delete(&target).await.unwrap();
        Bundle::remove(&world.bundles, &target.id).unwrap();
        world.assert_nothing_left();
    }

    pub(crate) async fn a_hybrid_layout_is_refused_by_name(world: World) {
        assert_eq!(cgroup_layout().unwrap(), CgroupLayout::Hybrid);
        let bundle = Bundle::write(&world.config(), &world.bundles).unwrap();
        let error = world.runtime.create_and_start(&bundle).await.unwrap_err();
        assert!(
            matches!(
                &error,
                OciError::CgroupLayoutRefused {
                    layout: CgroupLayout::Hybrid,
                    ..
                }
            ),
            "{error}"
        );
        world.runtime.delete(&world.target()).await.unwrap();
        Bundle::remove(&world.bundles, &world.config().id).unwrap();
        world.assert_nothing_left();
    }
}
