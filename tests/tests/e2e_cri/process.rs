//! What the sandbox's process gets of what was asked for.

use std::os::unix::fs::MetadataExt;

use anyhow::{Context, Result, ensure};
use k8s_cri::v1;
use podwalk_tests::cri::{Cri, inspected, pod, refused};
use podwalk_tests::node::{self, Layout};
use podwalk_tests::{outside, scene, wait};
use serde_json::json;
use tonic::Code;

use super::{PATIENCE, READY, open};

/// What the kernel says of a sandbox's process.
struct Seen {
    pid: u64,
    status: String,
}

impl Seen {
    fn of(cri: &Cri, id: &str) -> Result<Self> {
        let told = inspected(&cri.verbose_status(id)?)?;
        let pid = told["sandbox"]["pid"].as_u64().context("pid")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        Ok(Self { pid, status })
    }

    /// A line of `/proc/PID/status`.
    fn line(&self, name: &str) -> Result<Vec<&str>> {
        let mut lines = self.status.lines();
        let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        Ok(line.context(name.to_owned())?.split_whitespace().collect())
    }

    fn file(&self, name: &str) -> Result<String> {
        let path = format!("/proc/{}/{name}", self.pid);
        std::fs::read_to_string(&path).context(path)
    }

    fn namespace(&self, kind: &str) -> Result<std::path::PathBuf> {
        Ok(std::fs::read_link(format!("/proc/{}/ns/{kind}", self.pid))?)
    }

    /// How long it has run so far, in clock ticks.
    fn ticks(&self) -> Result<u64> {
        let stat = self.file("stat")?;
        // Of the fields after the name, which ends with the last parenthesis.
        let (_, fields) = stat.rsplit_once(')').context("no name")?;
        let mut times = fields.split_whitespace().skip(11).take(2);
        times.try_fold(0, |sum, time| Ok(sum + time.parse::<u64>()?))
    }

    /// Where its cgroup is in a hierarchy of version 1.
    fn cgroup(&self, controller: &str) -> Result<std::path::PathBuf> {
        let groups = self.file("cgroup")?;
        let mut lines = groups
            .lines()
            .filter_map(|line| line.split_once(':')?.1.split_once(':'));
        let found =
            lines.find(|(controllers, _)| controllers.split(',').any(|one| one == controller));
        let (_, path) = found.with_context(|| format!("no {controller} in {groups}"))?;
        // Whole to the sandbox's eyes and to ours: the node is a cgroup namespace.
        let root = std::path::Path::new("/sys/fs/cgroup").join(controller);
        Ok(root.join(path.trim_start_matches('/')))
    }

    /// What a command prints in some of its namespaces.
    fn within(&self, namespaces: &[&str], command: &[&str]) -> Result<String> {
        let mut nsenter = std::process::Command::new("nsenter");
        nsenter
            .arg(format!("--target={}", self.pid))
            .args(namespaces)
            .args(command);
        Ok(outside::output(&mut nsenter)?.trim().to_owned())
    }
}

fn security(config: &mut v1::PodSandboxConfig) -> &mut v1::LinuxSandboxSecurityContext {
    let linux = config.linux.get_or_insert_default();
    linux.security_context.get_or_insert_default()
}

#[test]
fn what_is_asked_of_the_process_is_what_it_gets() -> Result<()> {
    node::run(Layout::V1, || {
        let (scene, cri) = open()?;
        let mut config = pod("web", 0);
        config.hostname = "web-of-tests".to_owned();
        let asked = security(&mut config);
        asked.run_as_user = Some(v1::Int64Value { value: 1234 });
        asked.run_as_group = Some(v1::Int64Value { value: 2345 });
        asked.supplemental_groups = vec![3456, 4567];
        asked.readonly_rootfs = true;
        let linux = config.linux.as_mut().context("linux")?;
        let sysctl = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        linux.sysctls = [
            sysctl("net.ipv4.ip_unprivileged_port_start", "81"),
            sysctl("kernel.shm_rmid_forced", "1"),
        ]
        .into();
        for handler in ["crun", "runc"] {
            let id = cri.run(config.clone(), handler)?;
            let seen = Seen::of(&cri, &id)?;
            ensure!(seen.within(&["--uts"], &["hostname"])? == "web-of-tests");
            ensure!(seen.line("Uid")? == ["1234"; 4], "{}", seen.status);
            ensure!(seen.line("Gid")? == ["2345"; 4], "{}", seen.status);
            let groups = seen.line("Groups")?;
            ensure!(
                ["3456", "4567"].iter().all(|one| groups.contains(one)),
                "{groups:?}"
            );
            ensure!(seen.line("Seccomp")? == ["2"], "a filter, by default");
            ensure!(seen.line("NoNewPrivs")? == ["1"]);
            let root = seen.file("mountinfo")?;
            let root = root
                .lines()
                .find(|line| line.split(' ').nth(4) == Some("/"));
            let options = root
                .and_then(|line| line.split(' ').nth(5))
                .context("no root")?;
            ensure!(options.split(',').any(|one| one == "ro"), "{options}");
            let port = ["cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start"];
            ensure!(seen.within(&["--net"], &port)? == "81");
            let shm = ["cat", "/proc/sys/kernel/shm_rmid_forced"];
            ensure!(seen.within(&["--ipc"], &shm)? == "1");
            cri.stop(&id)?;
            cri.remove(&id)?;
        }
        scene.close()
    })
}

#[test]
fn scenario_38_namespaces_of_the_host_are_told_back_as_asked() -> Result<()> {
    node::run(Layout::V2, || {
        let (scene, cri) = open()?;
        let host = |kind: &str| std::fs::read_link(format!("/proc/self/ns/{kind}"));
        let own = cri.run(pod("own", 0), "")?;
        let mut shares = pod("shares", 0);
        let node = i32::from(v1::NamespaceMode::Node);
        let options = v1::NamespaceOption {
            network: node,
            pid: node,
            ipc: node,
            ..Default::default()
        };
        security(&mut shares).namespace_options = Some(options.clone());
        security(&mut shares).seccomp = Some(v1::SecurityProfile {
            profile_type: v1::security_profile::ProfileType::Unconfined.into(),
            localhost_ref: String::new(),
        });
        let shared = cri.run(shares, "")?;
        let (separate, together) = (Seen::of(&cri, &own)?, Seen::of(&cri, &shared)?);
        for kind in ["net", "pid", "ipc"] {
            ensure!(separate.namespace(kind)? != host(kind)?, "{kind}");
            ensure!(together.namespace(kind)? == host(kind)?, "{kind}");
        }
        ensure!(together.line("Seccomp")? == ["0"], "{}", together.status);
        // Forgotten, kubelet would start such a pod anew each second.
        let echoed = cri
            .status(&shared)?
            .linux
            .and_then(|linux| linux.namespaces?.options);
        ensure!(echoed == Some(options), "{echoed:?}");
        for id in [own, shared] {
            cri.stop(&id)?;
            cri.remove(&id)?;
        }
        scene.close()
    })
}

/// Told by what the sandbox's process does under it: refused its wait for signals, it tries again
/// and again; under any other filter, or none, it sleeps.
#[test]
fn a_seccomp_profile_of_a_file_is_the_process_s() -> Result<()> {
    node::run(Layout::V2, || {
        let (scene, cri) = open()?;
        let file = node::disk().join("no-wait.json");
        let profile = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["rt_sigtimedwait"], "action": "SCMP_ACT_ERRNO"}],
        });
        std::fs::write(&file, profile.to_string())?;
        let mut config = pod("web", 0);
        security(&mut config).seccomp = Some(v1::SecurityProfile {
            profile_type: v1::security_profile::ProfileType::Localhost.into(),
            localhost_ref: file.display().to_string(),
        });
        for handler in ["crun", "runc"] {
            let id = cri.run(config.clone(), handler)?;
            let seen = Seen::of(&cri, &id)?;
            ensure!(seen.line("Seccomp")? == ["2"], "{}", seen.status);
            let before = seen.ticks()?;
            let runs = wait::until(PATIENCE, || Ok((seen.ticks()? > before + 5).then_some(())))?;
            ensure!(runs.is_some(), "it sleeps under {handler}");
            ensure!(cri.status(&id)?.state == READY);
            // A stop would be in vain first: it does not take SIGTERM any more.
            let pid = seen.pid.to_string();
            outside::output(std::process::Command::new("kill").args(["-KILL", &pid]))?;
            cri.stop(&id)?;
            cri.remove(&id)?;
        }
        scene.close()
    })
}

#[test]
fn limits_are_in_the_cgroup_under_the_pod_s_own() -> Result<()> {
    node::run(Layout::V1, || {
        let (scene, cri) = open()?;
        let cases = [
            ("/kubepods/pod-1", "/kubepods/pod-1/"),
            (
                "kubepods-pod2.slice",
                "/kubepods.slice/kubepods-pod2.slice/",
            ),
        ];
        for (parent, path) in cases {
            let mut config = pod("web", 0);
            let linux = config.linux.get_or_insert_default();
            linux.cgroup_parent = parent.to_owned();
            linux.resources = Some(v1::LinuxContainerResources {
                cpu_shares: 512,
                cpu_period: 50_000,
                cpu_quota: 25_000,
                memory_limit_in_bytes: 64 << 20,
                cpuset_cpus: "0".to_owned(),
                cpuset_mems: "0".to_owned(),
                oom_score_adj: 500,
                ..Default::default()
            });
            linux.overhead = Some(v1::LinuxContainerResources {
                memory_limit_in_bytes: 1 << 20,
                ..Default::default()
            });
            let id = cri.run(config, "")?;
            let seen = Seen::of(&cri, &id)?;
            let files = [
                ("cpu", "cpu.shares", "512"),
                ("cpu", "cpu.cfs_period_us", "50000"),
                ("cpu", "cpu.cfs_quota_us", "25000"),
                // The overhead is not added.
                ("memory", "memory.limit_in_bytes", "67108864"),
                ("cpuset", "cpuset.cpus", "0"),
                ("cpuset", "cpuset.mems", "0"),
            ];
            for (controller, file, value) in files {
                let group = seen.cgroup(controller)?;
                let shown = group.display().to_string();
                ensure!(shown.contains(path), "{shown}");
                let read = std::fs::read_to_string(group.join(file)).context(shown)?;
                ensure!(read.trim() == value, "{file}: {read}");
            }
            ensure!(seen.file("oom_score_adj")?.trim() == "500");
            cri.stop(&id)?;
            cri.remove(&id)?;
        }
        // On most machines all memory is on node 0 anyway; that one asks is seen by the refusal.
        let mut nowhere = pod("web", 0);
        let linux = nowhere.linux.get_or_insert_default();
        linux.cgroup_parent = "/kubepods/pod-3".to_owned();
        linux.resources = Some(v1::LinuxContainerResources {
            cpuset_mems: "63".to_owned(),
            ..Default::default()
        });
        refused(cri.run(nowhere, ""), Code::Internal, &["cpuset.mems"])?;
        // A foreign parent is not ours to remove; here it is the test's.
        outside::output(std::process::Command::new("find").args([
            "/sys/fs/cgroup",
            "-depth",
            "-type",
            "d",
            "-path",
            "*/kubepods*",
            "-exec",
            "rmdir",
            "{}",
            "+",
        ]))?;
        scene.close()
    })
}

#[test]
fn a_pod_has_a_user_namespace_that_owns_its_network() -> Result<()> {
    node::run(Layout::V1, || {
        let (scene, cri) = open()?;
        let run = |host_id| v1::IdMapping {
            container_id: 0,
            host_id,
            length: 65_536,
        };
        let mut config = pod("web", 0);
        let options = v1::NamespaceOption {
            userns_options: Some(v1::UserNamespace {
                mode: v1::NamespaceMode::Pod.into(),
                uids: vec![run(200_000)],
                gids: vec![run(300_000)],
            }),
            ..Default::default()
        };
        let linux = config.linux.as_mut().context("linux")?;
        linux.sysctls = [(
            "net.ipv4.ip_unprivileged_port_start".to_owned(),
            "80".to_owned(),
        )]
        .into();
        let context = linux.security_context.as_mut().context("context")?;
        context.namespace_options = Some(options.clone());
        for handler in ["crun", "runc"] {
            let id = cri.run(config.clone(), handler)?;
            let told = scene::agrees_with_outside(&inspected(&cri.verbose_status(&id)?)?)?;
            for (file, host_id) in [("uid_map", "200000"), ("gid_map", "300000")] {
                let mapped = std::fs::read_to_string(format!("/proc/{}/{file}", told.pid))?;
                let mapped: Vec<_> = mapped.split_whitespace().collect();
                ensure!(mapped == ["0", host_id, "65536"], "{file}: {mapped:?}");
            }
            let owner = std::fs::File::from(podwalk_netns::user_namespace(&told.key)?);
            let owner = owner.metadata()?;
            let of_process = std::fs::metadata(format!("/proc/{}/ns/user", told.pid))?;
            ensure!(
                (owner.dev(), owner.ino()) == (of_process.dev(), of_process.ino()),
                "{} owns the network, and the sandbox is in {}",
                owner.ino(),
                of_process.ino()
            );
            let echoed = cri
                .status(&id)?
                .linux
                .and_then(|linux| linux.namespaces?.options);
            ensure!(echoed == Some(options.clone()), "{echoed:?}");
            cri.stop(&id)?;
            scene::is_stopped(&told)?;
            cri.remove(&id)?;
        }
        scene.close()
    })
}
