//! Real sandboxes by containerd's shim of runc, without containerd.

/// A test in two nodes: on cgroups v1 and v2.
macro_rules! by_shim {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        mod $name {
            use crate::node::{Layout, enter};

            #[test]
            fn v1() {
                enter(concat!(module_path!(), "::v1"), Layout::V1, "runc", super::bodies::$name);
            }

            #[test]
            fn v2() {
                enter(concat!(module_path!(), "::v2"), Layout::V2, "runc", super::bodies::$name);
            }
        }
    )*};
}

by_shim! {
    /// It is what was asked for, its shim is in a cgroup of its own, and both go with all that was theirs.
    is_started_probed_and_deleted_twice;
    /// The shim stays when only the sandbox is killed; a successor reads that it has stopped.
    is_killed_beside_its_shim;
    /// A dead shim leaves its sandbox running: that is told, and ended.
    is_ended_when_its_shim_was_killed;
    /// A start that is cut anywhere leaves nothing that an end does not find.
    a_shims_start_that_is_cut_anywhere_leaves_nothing;
    /// SIGKILL at every point of a start and its undoing.
    scenario_46_a_crash_at_any_point_leaves_no_shim;
    /// The socket of a shim that was killed before it told its address is known nevertheless.
    a_socket_that_was_never_told_is_removed;
    /// A second container of the pod is the same shim's.
    a_second_container_has_the_same_shim;
    /// The shim tells how it ended.
    the_exit_is_told_by_the_shim;
}

mod bodies {
    use std::fs;
    use std::os::unix::fs::MetadataExt;
    use std::path::{Path, PathBuf};
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use podwalk_oci::{
        Bundle, Handler, Probe, ProcessWatch, SandboxConfig, SandboxId, ShimApi, ShimOptions,
        ShimRuntime, ShimSettings, Target,
    };

    use rustix::fs::{Mode, OFlags};

    use crate::crash;
    use crate::node::{EFFECT, Marked, World, names, pids_of};
    use crate::seen::namespace;

    const SHIM: &str = "containerd-shim";
    const ROOT: &str = "/run/podwalk/runtimes/shim";
    const SOCKETS: &str = "/run/containerd/s";
    /// How much later each cut is than the one before it.
    const CUT_STEP: Duration = Duration::from_millis(4);

    fn shim(world: &World) -> ShimRuntime {
        let handler = Handler::new("shim", "containerd-shim-runc-v2", ROOT);
        let mut settings = ShimSettings::new(&world.bundles, "/run/podwalk/shims/shim.sock");
        settings.options = ShimOptions::Runc {
            binary: None,
            systemd_cgroup: false,
        };
        settings.effect_variable = Some(EFFECT.to_owned());
        ShimRuntime::new(handler, settings, Arc::new(Marked))
    }

    async fn start(shim: &ShimRuntime, world: &World) -> Target {
        let bundle = Bundle::write(&world.config(), &world.bundles).unwrap();
        let sandbox = shim.create_and_start(&bundle).await.unwrap();
        Target {
            process: Some(sandbox.process),
            shim_address: sandbox.shim_address,
            ..world.target()
        }
    }

    fn shim_cgroups(world: &World) -> Vec<PathBuf> {
        let beside = |cgroup: PathBuf| {
            let name = cgroup.file_name().unwrap().to_string_lossy().into_owned();
            cgroup.with_file_name(format!("{name}-shim"))
        };
        let cgroups = world.cgroups(&world.target());
        cgroups.into_iter().map(beside).collect()
    }

    fn assert_nothing_left(world: &World) {
        Bundle::remove(&world.bundles, &world.target().id).unwrap();
        world.assert_nothing_left();
        for cgroup in shim_cgroups(world) {
            assert!(!cgroup.exists(), "{}", cgroup.display());
        }
        assert_eq!(pids_of(SHIM), Vec::<u32>::new(), "shims");
        assert_eq!(names(Path::new(SOCKETS)), Vec::<String>::new(), "sockets");
        let state = Path::new(ROOT).join("podwalk");
        assert_eq!(names(&state), Vec::<String>::new(), "state");
    }

    fn kill_shim() -> u32 {
        let pids = pids_of(SHIM);
        let [pid] = pids.as_slice() else {
            panic!("shims: {pids:?}");
        };
        let watch = ProcessWatch::of(*pid).unwrap().unwrap();
        watch.kill().unwrap();
        *pid
    }

    pub(crate) async fn is_started_probed_and_deleted_twice(world: World) {
        let shim = shim(&world);
        assert!(shim.version().await.unwrap().line.contains("shim-runc-v2 "));
        assert_eq!(shim.probe(&world.target()).await.unwrap(), Probe::Absent);
        let target = start(&shim, &world).await;
        let process = target.process.unwrap();
        let netns = fs::metadata(&world.netns).unwrap().ino();
        assert_eq!(namespace(process.pid, "net"), netns);
        let shims = pids_of(SHIM);
        for (own, beside) in world.cgroups(&target).iter().zip(shim_cgroups(&world)) {
            let procs = |path: &Path| fs::read_to_string(path.join("cgroup.procs")).unwrap();
            assert_eq!(procs(own).trim(), process.pid.to_string());
            assert_eq!(procs(&beside).trim(), shims[0].to_string());
        }
        for known in [&target, &world.target()] {
            let found = shim.probe(known).await.unwrap();
            assert_eq!(found, Probe::Running { process });
        }
        shim.delete(&target).await.unwrap();
        shim.delete(&target).await.unwrap();
        assert_eq!(
            shim.probe(&world.target()).await.unwrap(),
            Probe::Partial {
                what: "its shim is gone, and has left something".to_owned()
            }
        );
        assert_nothing_left(&world);
        shim.delete(&world.target()).await.unwrap();
        assert_eq!(shim.probe(&world.target()).await.unwrap(), Probe::Absent);
    }

    pub(crate) async fn is_killed_beside_its_shim(world: World) {
        let target = start(&shim(&world), &world).await;
        // Another life, which knows what is derived.
        let later = shim(&world);
        later.kill(&world.target()).await.unwrap();
        later.kill(&target).await.unwrap();
        let process = target.process.unwrap();
        assert!(ProcessWatch::open(process).unwrap().is_none());
        assert_eq!(pids_of(SHIM).len(), 1);
        assert_eq!(later.probe(&world.target()).await.unwrap(), Probe::Stopped);
        later.delete(&world.target()).await.unwrap();
        assert_nothing_left(&world);
    }

    pub(crate) async fn is_ended_when_its_shim_was_killed(world: World) {
        let shim = shim(&world);
        for recorded in [true, false] {
            let target = start(&shim, &world).await;
            let process = target.process.unwrap();
            let pid = kill_shim();
            if let Some(watch) = ProcessWatch::of(pid).unwrap() {
                watch.exited().await.unwrap();
            }
            assert!(ProcessWatch::open(process).unwrap().is_some(), "it runs on");
            let known = if recorded { target } else { world.target() };
            let found = shim.probe(&known).await.unwrap();
            assert!(matches!(found, Probe::Partial { .. }), "{found:?}");
            shim.delete(&known).await.unwrap();
            assert!(ProcessWatch::open(process).unwrap().is_none());
            shim.delete(&known).await.unwrap();
            assert_nothing_left(&world);
        }
    }

    pub(crate) async fn a_shims_start_that_is_cut_anywhere_leaves_nothing(world: World) {
        let (whole, begin) = (shim(&world), Instant::now());
        let target = start(&whole, &world).await;
        let step = crash::cut_step(CUT_STEP, begin.elapsed());
        whole.delete(&target).await.unwrap();
        let mut patience = Duration::ZERO;
        loop {
            let shim = shim(&world);
            let bundle = Bundle::write(&world.config(), &world.bundles).unwrap();
            let start = shim.create_and_start(&bundle);
            let started = tokio::time::timeout(patience, start).await;
            crate::node::quiet("pod-1");
            shim.delete(&world.target()).await.unwrap();
            assert_nothing_left(&world);
            if let Ok(started) = started {
                started.unwrap();
                break;
            }
            patience += step;
        }
    }

    pub(crate) async fn scenario_46_a_crash_at_any_point_leaves_no_shim(world: World) {
        // The service that this shim makes sandboxes by is found out, so that this is cut too.
        let shim = |world: &World| {
            let usual = shim(world);
            let mut settings = usual.settings().clone();
            settings.api = ShimApi::Auto;
            ShimRuntime::new(usual.handler().clone(), settings, Arc::new(Marked))
        };
        if crash::is_child() {
            let shim = shim(&world);
            let target = start(&shim, &world).await;
            shim.kill(&target).await.unwrap();
            return shim.delete(&target).await.unwrap();
        }
        let mut found = std::collections::BTreeSet::new();
        let mut at = 1;
        while !crash::comes_through(at) {
            crate::node::quiet("pod-1");
            // What a successor knows from its record of the intent only.
            let (shim, target) = (shim(&world), world.target());
            found.insert(match shim.probe(&target).await.unwrap() {
                Probe::Absent => "Absent",
                Probe::Partial { .. } => "Partial",
                Probe::Created { .. } => "Created",
                Probe::Running { .. } => "Running",
                Probe::Stopped => "Stopped",
                other => panic!("{other:?}"),
            });
            shim.delete(&target).await.unwrap();
            assert_nothing_left(&world);
            at += 1;
        }
        for expected in ["Absent", "Partial", "Created", "Running", "Stopped"] {
            assert!(found.contains(expected), "never {expected}: {found:?}");
        }
        let sources = [
            include_str!("../../src/shim.rs"),
            include_str!("../../src/shim/begin.rs"),
            include_str!("../../src/shim/end.rs"),
            include_str!("../../src/shim/program.rs"),
        ];
        let mut announced = crash::quoted(&sources, "shim.");
        for elsewhere in ["shim.version.spawned", "shim.json"] {
            announced.remove(elsewhere);
        }
        crash::assert_reached(&announced);
        assert_nothing_left(&world);
    }

    pub(crate) async fn a_socket_that_was_never_told_is_removed(world: World) {
        let shim = shim(&world);
        let target = start(&shim, &world).await;
        let address = target.shim_address.clone().unwrap();
        shim.delete(&target).await.unwrap();
        assert_nothing_left(&world);
        // As the shim makes it, before it writes its address into its bundle.
        let socket = address.strip_prefix("unix://").unwrap();
        drop(std::os::unix::net::UnixListener::bind(socket).unwrap());
        shim.delete(&world.target()).await.unwrap();
        assert_nothing_left(&world);
    }

    pub(crate) async fn a_second_container_has_the_same_shim(world: World) {
        let shim = shim(&world);
        let target = start(&shim, &world).await;
        let id = SandboxId::new("container-1").unwrap();
        let mut config = SandboxConfig::new(id.clone());
        let annotation = |key: &str| format!("io.kubernetes.cri.{key}");
        config.annotations.extend([
            (annotation("container-type"), "container".to_owned()),
            (annotation("sandbox-id"), target.id.to_string()),
        ]);
        let bundle = Bundle::write(&config, &world.bundles).unwrap();
        let address = shim.join(&target, &id, bundle.dir()).await.unwrap();
        assert_eq!(Some(address), target.shim_address);
        assert_eq!(pids_of(SHIM).len(), 1);
        let is_read = || {
            let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
            rustix::fs::open(bundle.dir().join("log"), flags, Mode::empty()).is_ok()
        };
        // The reader ends when a thread comes to its task.
        let unread = async {
            while is_read() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let unread = tokio::time::timeout(Duration::from_secs(30), unread).await;
        assert!(unread.is_ok(), "its log keeps a reader that nobody ends");
        Bundle::remove(&world.bundles, &id).unwrap();
        shim.delete(&target).await.unwrap();
        assert_nothing_left(&world);
    }

    pub(crate) async fn the_exit_is_told_by_the_shim(world: World) {
        let shim = shim(&world);
        let target = start(&shim, &world).await;
        let waiting = tokio::spawn({
            let (shim, target) = (shim.clone(), target.clone());
            async move { shim.wait(&target, Duration::from_secs(30)).await }
        });
        let watch = ProcessWatch::open(target.process.unwrap())
            .unwrap()
            .unwrap();
        watch.kill().unwrap();
        assert_eq!(waiting.await.unwrap().unwrap(), 128 + 9);
        shim.delete(&target).await.unwrap();
        assert_nothing_left(&world);
    }
}
