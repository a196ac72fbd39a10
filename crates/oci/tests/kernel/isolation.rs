//! Users, user namespaces and limits, as the kernel shows them of real sandboxes.

use std::path::PathBuf;

use podwalk_oci::{IdMapping, UserNamespace};

everywhere! {
    /// It has the user and the groups that were given.
    runs_as_the_user_and_the_groups_asked_for;
    /// It keeps to its CPUs, and is killed as early as was asked for.
    keeps_to_its_cpus_and_its_score;
    /// The runtime makes the user namespace.
    lives_in_a_user_namespace_made_for_it;
    /// The user namespace was there before, and owns the network namespace.
    lives_in_the_user_namespace_that_owns_its_network;
    /// Its cgroup tells what it uses, as far as there are controllers.
    tells_what_it_uses;
}

/// A user namespace whose ids are nobody's outside, made or joined.
pub(crate) fn mapped(path: Option<PathBuf>) -> Option<UserNamespace> {
    let mapping = |host_id| IdMapping {
        container_id: 0,
        host_id,
        length: 65536,
    };
    Some(UserNamespace {
        path,
        uids: vec![mapping(100_000)],
        gids: vec![mapping(200_000)],
    })
}

mod bodies {
    use std::fs::{self, File};
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::MetadataExt;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use podwalk_oci::{Bundle, CgroupUsage, OciError, Resources, SandboxConfig};

    use super::mapped;
    use crate::node::{Layout, World, until};
    use crate::seen::{mounted, namespace, status, words};

    async fn start(world: &World, config: &SandboxConfig) -> u32 {
        let bundle = Bundle::write(config, &world.bundles).unwrap();
        let sandbox = world.runtime.create_and_start(&bundle).await.unwrap();
        sandbox.process.pid
    }

    async fn end(world: &World) {
        let target = world.target();
        world.runtime.delete(&target).await.unwrap();
        Bundle::remove(&world.bundles, &target.id).unwrap();
        world.assert_nothing_left();
    }

    pub(crate) async fn runs_as_the_user_and_the_groups_asked_for(world: World) {
        let mut config = world.config();
        (config.run_as_user, config.run_as_group) = (Some(1000), Some(2000));
        config.supplemental_groups = vec![3000, 4000];
        let pid = start(&world, &config).await;
        assert_eq!(status(pid, "Uid"), "1000\t1000\t1000\t1000");
        assert_eq!(status(pid, "Gid"), "2000\t2000\t2000\t2000");
        assert_eq!(status(pid, "Groups"), "3000 4000");
        end(&world).await;
    }

    pub(crate) async fn keeps_to_its_cpus_and_its_score(world: World) {
        let mut config = world.config();
        config.oom_score_adj = Some(500);
        config.resources.cpuset_cpus = Some("0".to_owned());
        config.resources.cpuset_mems = Some("0".to_owned());
        if world.layout == Layout::V2 {
            let bundle = Bundle::write(&config, &world.bundles).unwrap();
            let error = world.runtime.create_and_start(&bundle).await.unwrap_err();
            let is_refused = matches!(error, OciError::CgroupLayoutRefused { .. });
            assert!(
                is_refused && error.to_string().contains("cpuset"),
                "{error}"
            );
            world.runtime.delete(&world.target()).await.unwrap();
            config.resources = Resources::default();
        }
        let pid = start(&world, &config).await;
        assert_eq!(words(pid, "oom_score_adj"), ["500"]);
        if world.layout == Layout::V1 {
            assert_eq!(status(pid, "Cpus_allowed_list"), "0");
            assert_eq!(status(pid, "Mems_allowed_list"), "0");
            let cgroup = Path::new("/sys/fs/cgroup/cpuset")
                .join(world.target().cgroup.as_str().trim_start_matches('/'));
            let cpus = fs::read_to_string(cgroup.join("cpuset.cpus")).unwrap();
            assert_eq!(cpus.trim(), "0");
        }
        end(&world).await;
    }

    /// What holds in a user namespace of [`mapped`], whoever made it.
    fn assert_mapped(world: &World, config: &SandboxConfig, pid: u32) {
        assert_eq!(words(pid, "uid_map"), ["0", "100000", "65536"]);
        assert_eq!(words(pid, "gid_map"), ["0", "200000", "65536"]);
        assert_ne!(
            namespace(pid, "user"),
            namespace(std::process::id(), "user")
        );
        let netns = fs::metadata(config.netns.as_ref().unwrap()).unwrap();
        assert_eq!(namespace(pid, "net"), netns.ino());
        assert_eq!(status(pid, "Uid").split_whitespace().next(), Some("100007"));
        assert_eq!(status(pid, "Gid").split_whitespace().next(), Some("265535"));
        assert_eq!(status(pid, "Groups"), "200009");
        assert_eq!(status(pid, "CapBnd"), "0000000000000000");
        assert_eq!(status(pid, "Seccomp"), "2");
        for (point, kind) in [
            ("/proc", "proc"),
            ("/bin", "overlay"),
            ("/dev/mqueue", "mqueue"),
        ] {
            assert_eq!(mounted(pid, point).as_deref(), Some(kind), "{point}");
        }
        for cgroup in world.cgroups(&world.target()) {
            let procs = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap();
            assert_eq!(procs.trim(), pid.to_string(), "{}", cgroup.display());
        }
    }

    fn in_user_namespace(world: &World, path: Option<PathBuf>) -> SandboxConfig {
        let sysctl = ("kernel.shm_rmid_forced".to_owned(), "1".to_owned());
        let mut config = world.config();
        config.user_namespace = mapped(path);
        config.run_as_user = Some(7);
        config.supplemental_groups = vec![9];
        config.sysctls.extend([sysctl]);
        config
    }

    pub(crate) async fn lives_in_a_user_namespace_made_for_it(mut world: World) {
        // What separates the options of the program's overlay may be in a path. (A colon may not:
        // crun takes what is before it in the path of its log for a kind of log.)
        world.bundles = "/run/podwalk/bundles,a\\b".into();
        let config = in_user_namespace(&world, None);
        let pid = start(&world, &config).await;
        assert_mapped(&world, &config, pid);
        assert_eq!(mounted(pid, "/sys"), None, "it does not own its network");
        end(&world).await;
    }

    /// Makes a network namespace on a file, and opens the user namespace that owns it.
    fn owned_network(netns: &Path) -> File {
        let mut holder = Command::new("unshare")
            .args(["-U", "-n", "sleep", "1000"])
            .spawn()
            .unwrap();
        let pid = holder.id();
        // It executes the program when it has left all the namespaces.
        until("the namespaces are there", || {
            words(pid, "comm") == ["sleep"]
        });
        fs::write(format!("/proc/{pid}/uid_map"), "0 100000 65536\n").unwrap();
        fs::write(format!("/proc/{pid}/gid_map"), "0 200000 65536\n").unwrap();
        let user = File::open(format!("/proc/{pid}/ns/user")).unwrap();
        fs::write(netns, "").unwrap();
        let source = format!("/proc/{pid}/ns/net");
        let mut mount = Command::new("mount");
        let mounted = mount.args(["--bind", &source]).arg(netns).status();
        assert!(mounted.unwrap().success());
        holder.kill().unwrap();
        holder.wait().unwrap();
        user
    }

    pub(crate) async fn lives_in_the_user_namespace_that_owns_its_network(world: World) {
        let netns = Path::new("/run/netns/owned");
        let user = owned_network(netns);
        let path = format!("/proc/{}/fd/{}", std::process::id(), user.as_raw_fd());
        let mut config = in_user_namespace(&world, Some(path.into()));
        config.netns = Some(netns.to_owned());
        let pid = start(&world, &config).await;
        assert_mapped(&world, &config, pid);
        assert_eq!(namespace(pid, "user"), user.metadata().unwrap().ino());
        assert_eq!(mounted(pid, "/sys").as_deref(), Some("sysfs"));
        world.runtime.delete(&world.target()).await.unwrap();

        fs::write("/run/plain", "").unwrap();
        config.user_namespace = mapped(Some("/run/plain".into()));
        let bundle = Bundle::write(&config, &world.bundles).unwrap();
        let refused = world.runtime.create_and_start(&bundle).await.unwrap_err();
        assert!(
            matches!(refused, OciError::NotANamespace { .. }),
            "{refused}"
        );

        let unmounted = Command::new("umount").arg(netns).status();
        assert!(unmounted.unwrap().success());
        end(&world).await;
    }

    pub(crate) async fn tells_what_it_uses(world: World) {
        let mut config = world.config();
        if world.layout == Layout::V1 {
            config.resources.memory_limit = Some(64 << 20);
        }
        start(&world, &config).await;
        let usage = world.target().cgroup.usage().unwrap();
        assert!(usage.cpu_ns.is_some_and(|time| time > 0), "{usage:?}");
        if world.layout == Layout::V1 {
            assert!(usage.pids.is_some_and(|count| count >= 1), "{usage:?}");
            let memory = usage.memory.unwrap();
            assert!(memory.usage > 0, "{memory:?}");
            assert!(memory.working_set <= memory.usage, "{memory:?}");
            assert_eq!(memory.limit, Some(64 << 20));
        } else {
            assert_eq!((usage.memory, usage.pids), (None, None), "no controllers");
        }
        end(&world).await;
        let none = world.target().cgroup.usage().unwrap();
        assert_eq!(none, CgroupUsage::default());
    }
}
