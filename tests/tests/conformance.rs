//! The real rungs keep what the engine relies on, on a real kernel with real plugins and runtimes.
//!
//! Each is driven by the public harness over nothing, over its whole effect, over what is left when it
//! is given up at each point at which it waits, and over parts that are made by hand. What is there is
//! named by the oracle, which knows nothing of Podwalk.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "what is not as expected fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use podwalk::config::{Cni, Config};
use podwalk::serve;
use podwalk_engine::id::{InstanceId, PodId};
use podwalk_engine::pod::Pod;
use podwalk_engine::ports::{
    AttachLate, ConfigureCni, Create, MountNetns, ReadyNetwork, Rung, Start,
};
use podwalk_engine::rungs::Rungs;
use podwalk_engine::spec::PodSpec;
use podwalk_engine::step::Step;
use podwalk_testkit::conformance::{self, Case, Intended, Walk};
use podwalk_tests::conflist::Bridge;
use podwalk_tests::late::{self, Plane};
use podwalk_tests::node::{self, Layout};
use podwalk_tests::oracle::{Oracle, Places};
use podwalk_tests::{daemon, outside, wait};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

/// How long one of these may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(600);
/// How long a killed process may take to be seen gone.
const GONE: Duration = Duration::from_secs(60);

/// The real rungs, and the pod that is walked on them.
struct Ground {
    runtime: Runtime,
    rungs: Rungs,
    walk: Walk,
    oracle: Oracle,
}

impl Ground {
    /// A pod of the default handler that has taken every step below this one.
    fn below(step: Step) -> Result<Self> {
        Self::of("", step)
    }

    fn of(handler: &str, step: Step) -> Result<Self> {
        Self::with(daemon::Config::default(), handler, step)
    }

    /// A pod with a sandbox, and a network that it is to get beside it.
    fn with_late() -> Result<Self> {
        let mut places = daemon::Config::default();
        Plane::before(&mut places)?;
        Self::with(places, "", Step::AttachLate)
    }

    fn with(places: daemon::Config, handler: &str, step: Step) -> Result<Self> {
        let is_late = step == Step::AttachLate;
        let network = Bridge::new("podnet", "10.88.0.0/24").masqueraded();
        network.write(&places.cni_conf_dir, 10)?;
        let config = Config {
            state_dir: places.state_dir.clone(),
            run_dir: places.run_dir.clone(),
            netns_dir: places.netns_dir.clone(),
            private_mounts: true,
            cni: Cni {
                conf_dir: places.cni_conf_dir.clone(),
                bin_dirs: places.cni_bin_dirs.clone(),
                networks: Config::parse(late::CONFIGURATION)?.cni.networks,
                ..Config::default().cni
            },
            ..Config::default()
        };
        let runtime = Runtime::new()?;
        let instance = InstanceId(*b"conf");
        // Nobody waits for the sandboxes' ends.
        let (watch, _) = mpsc::unbounded_channel();
        let rungs = {
            let _entered = runtime.enter();
            serve::host(&config, instance, watch)?.rungs()
        };
        let spec = PodSpec {
            name: "web".to_owned(),
            namespace: "default".to_owned(),
            runtime_handler: handler.to_owned(),
            annotations: late_network(is_late),
            ..PodSpec::default()
        };
        let netns_dir = places.netns_dir.to_string_lossy().into_owned();
        let mut walk = Walk::new(PodId::new([7; 12], instance), spec, &netns_dir)?;
        runtime.block_on(climb(&rungs, &mut walk, step))?;
        Ok(Self {
            oracle: Oracle::new(Places::of(&places)?)?,
            runtime,
            rungs,
            walk,
        })
    }

    /// What was not there when the ground was made. A child of this process that was killed and is
    /// not waited for yet is nothing of a rung's.
    fn look(&self) -> BTreeSet<String> {
        let dead = format!("(state Z, child of {})", std::process::id());
        let found = self.oracle.leftovers().unwrap();
        found
            .into_iter()
            .filter(|line| !line.ends_with(&dead))
            .collect()
    }

    fn case<'a, S: Intended>(&'a self, rung: &'a dyn Rung<Step = S>) -> Case<'a, S> {
        Case::new(rung, self.walk.pod(), || self.look())
    }

    /// How many moments there are to interrupt differs: what ends together is seen by one poll.
    fn drive<S: Intended>(&self, case: &Case<'_, S>) -> Result<()> {
        let report = self.runtime.block_on(conformance::rung(case))?;
        println!("{}: {report}", S::STEP);
        ensure!(report.interruptions > 0, "{report}");
        Ok(())
    }

    /// Takes down what is below the step.
    fn close(mut self) -> Result<()> {
        let rungs = &self.rungs;
        let walk = &mut self.walk;
        self.runtime.block_on(async {
            walk.descend(&*rungs.start).await?;
            walk.descend(&*rungs.configure_cni).await?;
            walk.descend(&*rungs.ready_network).await?;
            walk.descend(&*rungs.mount_netns).await?;
            walk.descend(&*rungs.create).await
        })?;
        let left = self.look();
        ensure!(left.is_empty(), "{left:?}");
        Ok(())
    }

    fn key(&self) -> Result<String> {
        self.walk.pod().sandbox_key.context("a namespace file")
    }
}

async fn climb(rungs: &Rungs, walk: &mut Walk, below: Step) -> Result<()> {
    if below > Step::Create {
        walk.climb(&*rungs.create).await?;
    }
    if below > Step::MountNetns {
        walk.climb(&*rungs.mount_netns).await?;
    }
    if below > Step::ReadyNetwork {
        walk.climb(&*rungs.ready_network).await?;
    }
    if below > Step::ConfigureCni {
        walk.climb(&*rungs.configure_cni).await?;
    }
    if below > Step::Start {
        walk.climb(&*rungs.start).await?;
    }
    Ok(())
}

/// The annotations of a pod that asks for a late network, or for none.
fn late_network(asked: bool) -> BTreeMap<String, String> {
    let network = (late::NETWORKS.to_owned(), late::NETWORK.to_owned());
    asked.then_some(network).into_iter().collect()
}

/// A whole effect, of which something is taken away or added by hand.
async fn applied<S: Intended>(rung: &dyn Rung<Step = S>, below: &Pod) -> S::Output {
    let mut walk = Walk::at(below.clone());
    walk.climb(rung).await.unwrap()
}

fn tool(program: &str, arguments: &[&str]) {
    outside::output(Command::new(program).args(arguments)).unwrap();
}

#[test]
fn create_keeps_every_rule() -> Result<()> {
    node::run_within(Layout::V1, DEADLINE, || {
        let ground = Ground::below(Step::Create)?;
        let rung = &*ground.rungs.create;
        let (below, key) = (ground.walk.pod(), ground.key()?);
        let case = ground.case::<Create>(rung).part("a file with a mount", || {
            Box::pin(async {
                applied(rung, &below).await;
                tool("mount", &["--bind", "/proc/self/ns/net", &key]);
            })
        });
        ground.drive(&case)?;
        drop(case);
        ground.close()
    })
}

#[test]
fn mount_netns_keeps_every_rule() -> Result<()> {
    node::run_within(Layout::V1, DEADLINE, || {
        let ground = Ground::below(Step::MountNetns)?;
        let rung = &*ground.rungs.mount_netns;
        let (below, key) = (ground.walk.pod(), ground.key()?);
        let case = ground
            .case::<MountNetns>(rung)
            .part("two namespaces on one file", || {
                Box::pin(async {
                    applied(rung, &below).await;
                    tool("mount", &["--bind", "/proc/self/ns/net", &key]);
                })
            })
            .part("something else on the file", || {
                Box::pin(async { tool("mount", &["--bind", "/etc/hostname", &key]) })
            });
        ground.drive(&case)?;
        drop(case);
        ground.close()
    })
}

#[test]
fn ready_network_keeps_every_rule() -> Result<()> {
    node::run_within(Layout::V1, DEADLINE, || {
        let ground = Ground::below(Step::ReadyNetwork)?;
        // That lo is up goes with the namespace.
        let case = ground
            .case::<ReadyNetwork>(&*ground.rungs.ready_network)
            .leaves_nothing();
        ground.drive(&case)?;
        drop(case);
        ground.close()
    })
}

#[test]
fn configure_cni_keeps_every_rule_with_real_plugins() -> Result<()> {
    node::run_within(Layout::V1, DEADLINE, || {
        let ground = Ground::below(Step::ConfigureCni)?;
        let rung = &*ground.rungs.configure_cni;
        let below = ground.walk.pod();
        let given_back = || async {
            applied(rung, &below).await;
            for entry in fs::read_dir("/var/lib/cni/networks/podnet").unwrap() {
                let path = entry.unwrap().path();
                let is_address = path.to_string_lossy().contains("/10.88.");
                if is_address {
                    fs::remove_file(path).unwrap();
                }
            }
        };
        let case = ground
            .case::<ConfigureCni>(rung)
            .part("an interface whose address is given back", || {
                Box::pin(given_back())
            })
            .interruptions(12);
        ground.drive(&case)?;
        drop(case);
        ground.close()
    })
}

#[test]
fn attach_late_keeps_every_rule_with_real_plugins() -> Result<()> {
    node::run_within(Layout::V1, DEADLINE, || {
        let ground = Ground::with_late()?;
        let rung = &*ground.rungs.attach_late;
        let below = ground.walk.pod();
        // The network goes whether or not the sandbox lives.
        let alone = || async {
            applied(rung, &below).await;
            let netns = below.sandbox_key.as_deref().unwrap();
            tool(
                "nsenter",
                &[&format!("--net={netns}"), "ip", "link", "delete", "net1"],
            );
        };
        let case = ground
            .case::<AttachLate>(rung)
            .part("a network whose interface is gone", || Box::pin(alone()))
            .interruptions(12);
        ground.drive(&case)?;
        drop(case);
        ground.close()
    })
}

fn start_keeps_every_rule(handler: &str) -> Result<()> {
    let ground = Ground::of(handler, Step::Start)?;
    let rung = &*ground.rungs.start;
    let below = ground.walk.pod();
    let dead = || async {
        let process = applied(rung, &below).await.process;
        tool("kill", &["-KILL", &process.pid.to_string()]);
        let stat = format!("/proc/{}", process.pid);
        let gone = || Ok((!Path::new(&stat).exists()).then_some(()));
        wait::until(GONE, gone).unwrap().unwrap();
    };
    let case = ground
        .case::<Start>(rung)
        .part("a sandbox whose process is gone", || Box::pin(dead()))
        .interruptions(16);
    ground.drive(&case)?;
    drop(case);
    ground.close()
}

#[test]
fn start_keeps_every_rule_with_crun() -> Result<()> {
    node::run_within(Layout::V1, DEADLINE, || start_keeps_every_rule("crun"))
}

#[test]
fn start_keeps_every_rule_with_crun_on_cgroup_v2() -> Result<()> {
    node::run_within(Layout::V2, DEADLINE, || start_keeps_every_rule("crun"))
}

#[test]
fn start_keeps_every_rule_with_runc() -> Result<()> {
    node::run_within(Layout::V1, DEADLINE, || start_keeps_every_rule("runc"))
}
