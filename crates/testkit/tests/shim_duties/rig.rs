//! A scripted shim, and a handler that uses it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use podwalk_oci::{
    Bundle, CgroupParent, Deadlines, Handler, OciError, ProcessWatch, SandboxConfig, SandboxId,
    ShimRuntime, ShimSettings, Target,
};
use podwalk_process::{Command, NotSpawned, Spawn, Spawned, Stdio, Unlisted};
use podwalk_testkit::scripted_shim::{Installed, Script, install};

/// What the port marks the processes of effects with.
pub(crate) const EFFECT: &str = "SHIM_DUTIES_EFFECT";
/// A guard against a hang, not a measure.
const LONG: Duration = Duration::from_secs(60);

struct Marked;

impl Spawn for Marked {
    fn spawn(
        &self,
        owner: &str,
        command: &Command<'_>,
        stdio: Stdio<'_>,
    ) -> Result<Spawned, NotSpawned> {
        let mut marked = command.clone();
        marked.environment.push((EFFECT, owner.into()));
        Unlisted.spawn(owner, &marked, stdio)
    }
}

pub(crate) struct Rig {
    pub(crate) runtime: ShimRuntime,
    pub(crate) shim: Installed,
    pub(crate) config: SandboxConfig,
    parent: String,
    directory: tempfile::TempDir,
}

impl Rig {
    /// `None`, and a word, where the test cannot run.
    pub(crate) fn new(script: &Script) -> Option<Self> {
        Self::with(script, |_, _| ())
    }

    /// With a changed handler.
    pub(crate) fn with(
        script: &Script,
        change: impl FnOnce(&mut Handler, &mut ShimSettings),
    ) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if !rustix::process::geteuid().is_root() {
            assert!(std::env::var_os("CI").is_none(), "this test needs root");
            eprintln!("SKIPPED: needs root");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let program = Path::new(env!("CARGO_BIN_EXE_podwalk-scripted-shim"));
        let shim = install(program, directory.path(), "shim", script).unwrap();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let id = format!("duty-{}-{count}", std::process::id());
        let parent = format!("/podwalk-{id}");
        let mut config = SandboxConfig::new(SandboxId::new(id).unwrap());
        config.cgroup_parent = CgroupParent::Owned(parent.clone());
        config.netns = Some(PathBuf::from("/proc/self/ns/net"));
        let at = |name: &str| directory.path().join(name);
        let mut handler = Handler::new("scripted", shim.path(), at("state"));
        handler.vm = true;
        handler.deadlines.create = LONG;
        handler.deadlines.start = LONG;
        handler.deadlines.query = LONG;
        let mut settings = ShimSettings::new(at("bundles"), at("events.sock"));
        change(&mut handler, &mut settings);
        Some(Self {
            runtime: ShimRuntime::new(handler, settings, Arc::new(Marked)),
            shim,
            config,
            parent,
            directory,
        })
    }

    pub(crate) fn another_life(&self) -> ShimRuntime {
        self.another_life_with(|_| ())
    }

    /// With other deadlines than the life before it.
    pub(crate) fn another_life_with(&self, change: impl FnOnce(&mut Deadlines)) -> ShimRuntime {
        let mut handler = self.runtime.handler().clone();
        change(&mut handler.deadlines);
        let settings = self.runtime.settings().clone();
        ShimRuntime::new(handler, settings, Arc::new(Marked))
    }

    pub(crate) async fn start(&self) -> Result<Target, OciError> {
        let bundles = self.directory.path().join("bundles");
        let bundle = Bundle::write(&self.config, &bundles).unwrap();
        let sandbox = self.runtime.create_and_start(&bundle).await?;
        Ok(Target {
            process: Some(sandbox.process),
            shim_address: sandbox.shim_address,
            ..self.derived()
        })
    }

    /// What is known without any record.
    pub(crate) fn derived(&self) -> Target {
        self.config.target().unwrap()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.shim.names().unwrap()
    }

    /// The processes that serve.
    pub(crate) fn shims(&self) -> Vec<u32> {
        self.processes("--serve")
    }

    pub(crate) fn machines(&self) -> Vec<u32> {
        self.processes("--machine")
    }

    /// Kills the shim and sees it gone.
    pub(crate) async fn kill_shim(&self) {
        let [pid] = self.shims().try_into().unwrap();
        let watch = ProcessWatch::of(pid).unwrap().unwrap();
        watch.kill().unwrap();
        watch.exited().await.unwrap();
    }

    /// The processes of this rig's program with this argument, those that have ended excepted.
    fn processes(&self, argument: &str) -> Vec<u32> {
        let own = self.shim.path().to_string_lossy().into_owned();
        let is_ours = |pid: &u32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            let mut words = line.split('\0');
            words.next() == Some(&own) && words.any(|word| word.starts_with(argument))
        };
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(is_ours).collect()
    }

    pub(crate) fn assert_nothing_left(&self) {
        let id = &self.config.id;
        assert_eq!(self.processes(""), Vec::<u32>::new(), "processes of {id}");
        let socket = self.directory.path().join(format!("shim.{id}.sock"));
        assert!(!socket.exists(), "{}", socket.display());
        for parent in self.parents() {
            for name in [id.to_string(), format!("{id}-shim")] {
                let cgroup = parent.join(name);
                assert!(!cgroup.exists(), "{}", cgroup.display());
            }
        }
    }

    /// The parent of its cgroups, in each hierarchy.
    fn parents(&self) -> Vec<PathBuf> {
        let mut roots = vec![PathBuf::from("/sys/fs/cgroup")];
        let hierarchies = fs::read_dir("/sys/fs/cgroup").into_iter().flatten();
        roots.extend(hierarchies.flatten().map(|entry| entry.path()));
        let below = |root: PathBuf| root.join(self.parent.trim_start_matches('/'));
        roots.into_iter().map(below).collect()
    }
}

impl Drop for Rig {
    /// Ends what a failed test left. A parent is also left by a delete beside which another sandbox
    /// is made.
    fn drop(&mut self) {
        let started = Instant::now();
        loop {
            let left = self.processes("");
            if left.is_empty() || started.elapsed() > LONG {
                break;
            }
            for pid in left {
                let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let id = &self.config.id;
        for parent in self.parents() {
            for name in [id.to_string(), format!("{id}-shim")] {
                let _ = fs::remove_dir(parent.join(name));
            }
            let _ = fs::remove_dir(parent);
        }
    }
}
