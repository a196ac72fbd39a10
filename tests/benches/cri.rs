//! RunPodSandbox beside the sum of its parts, and what status and list cost under load.
//!
//! Both are measured in one run, turn by turn, so that a busy machine is as busy for the one as for
//! the other. Nothing is asserted: `make bench` prints medians and ratios.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use k8s_cri::v1;
use podwalk_oci::{Bundle, SandboxConfig, SandboxId};
use podwalk_tests::conflist::Bridge;
use podwalk_tests::cri::{Cri, pod};
use podwalk_tests::daemon::{Config, released};
use podwalk_tests::node::{self, Layout};
use podwalk_tests::scene::Scene;
use serde_json::json;

const STARTS: u32 = 60;
const PODS: usize = 100;
const CLIENTS: usize = 8;
const DEADLINE: Duration = Duration::from_secs(900);

/// The daemon's binary, optimised, without a configuration file.
fn config() -> Result<Config> {
    Ok(Config {
        program: Some(released()?),
        ..Config::default()
    })
}

#[test]
fn run_pod_sandbox_beside_its_parts_on_cgroup_v1() -> Result<()> {
    node::run_within(Layout::V1, DEADLINE, || beside_its_parts("v1"))
}

#[test]
fn run_pod_sandbox_beside_its_parts_on_cgroup_v2() -> Result<()> {
    node::run_within(Layout::V2, DEADLINE, || beside_its_parts("v2"))
}

fn beside_its_parts(cgroups: &str) -> Result<()> {
    let network = Bridge::new("net0", "10.80.0.0/16");
    let scene = Scene::open_with(&config()?, &[network])?;
    let cri = Cri::at(scene.client().address())?;
    let (mut parts, mut at_once, mut whole) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..STARTS {
        parts.push(Parts::by_hand(number, Calls::Two)?);
        at_once.push(Parts::by_hand(number, Calls::One)?);
        let begin = Instant::now();
        let id = cri.run(pod(&format!("pod-{number}"), 0), "")?;
        whole.push(begin.elapsed());
        cri.stop(&id)?;
        cri.remove(&id)?;
    }
    let median_of = |part: fn(&Parts) -> Duration| median(parts.iter().map(part).collect());
    let sum = median_of(Parts::sum);
    let sum_at_once = median(at_once.iter().map(Parts::sum).collect());
    let whole = median(whole);
    println!(
        "RunPodSandbox on cgroup {cgroups}, medians of {STARTS}, with crun and bridge + host-local by \
         exec:"
    );
    let rows = [
        (
            "network namespace, made and pinned",
            median_of(|p| p.namespace),
        ),
        ("bridge ADD", median_of(|p| p.add)),
        ("bundle, crun create, crun start", median_of(|p| p.runtime)),
        ("two appends with fdatasync", median_of(|p| p.barriers)),
        ("sum of the parts", sum),
        ("the same with crun run --detach", sum_at_once),
        ("RunPodSandbox", whole),
    ];
    for (part, took) in rows {
        println!("  {part:<35} {:>6.2} ms", ms(took));
    }
    let ratio = |sum: Duration| whole.as_secs_f64() / sum.as_secs_f64();
    println!("  {:<35} {:>6.2}", "ratio", ratio(sum));
    println!(
        "  {:<35} {:>6.2}",
        "ratio, with run --detach",
        ratio(sum_at_once)
    );
    scene.close()
}

/// How a runtime is called by hand: `create` and `start`, or `run --detach`.
#[derive(Clone, Copy)]
enum Calls {
    Two,
    One,
}

/// What one start costs who does it without a journal.
struct Parts {
    namespace: Duration,
    add: Duration,
    runtime: Duration,
    barriers: Duration,
}

impl Parts {
    fn sum(&self) -> Duration {
        self.namespace + self.add + self.runtime + self.barriers
    }

    fn by_hand(number: u32, calls: Calls) -> Result<Self> {
        let id = format!("hand{number:028}");
        let file = Path::new("/run/netns").join(&id);
        let begin = Instant::now();
        podwalk_netns::place(&file)?;
        podwalk_netns::pin(&file)?;
        podwalk_netns::lo_up(&file)?;
        let namespace = begin.elapsed();
        let begin = Instant::now();
        plugin("ADD", &id, &file)?;
        let add = begin.elapsed();
        let begin = Instant::now();
        let mut config = SandboxConfig::new(SandboxId::new(id.clone())?);
        config.netns = Some(file.clone());
        config.hostname = Some("by-hand".to_owned());
        let bundles = PathBuf::from("/run/by-hand");
        let bundle = Bundle::write(&config, &bundles)?;
        let directory = bundle.dir().to_string_lossy();
        match calls {
            Calls::One => crun(&["run", "--detach", "--bundle", &directory, &id])?,
            Calls::Two => {
                crun(&["create", "--bundle", &directory, &id])?;
                crun(&["start", &id])?;
            }
        }
        let runtime = begin.elapsed();
        let begin = Instant::now();
        let path = node::disk().join("by-hand");
        let mut journal = File::options().create(true).append(true).open(path)?;
        for _ in 0..2 {
            journal.write_all(&[0; 1024])?;
            journal.sync_data()?;
        }
        let barriers = begin.elapsed();
        crun(&["delete", "--force", &id])?;
        plugin("DEL", &id, &file)?;
        podwalk_netns::unpin(&file)?;
        podwalk_netns::unlink(&file)?;
        Bundle::remove(&bundles, &SandboxId::new(id)?)?;
        Ok(Self {
            namespace,
            add,
            runtime,
            barriers,
        })
    }
}

fn crun(arguments: &[&str]) -> Result<()> {
    let mut crun = Command::new("crun");
    crun.arg("--root=/run/by-hand-crun").args(arguments);
    // A sandbox keeps what it is given: not a pipe that somebody reads to its end.
    let status = crun.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    ensure!(status.success(), "crun {arguments:?}: {status}");
    Ok(())
}

/// The plugin of `net0`, another network of the same kind, as the daemon calls it.
fn plugin(command: &str, id: &str, file: &Path) -> Result<()> {
    let list = Bridge::new("hand0", "10.81.0.0/16").json();
    let mut config = list["plugins"][0].clone();
    config["name"] = json!("hand0");
    config["cniVersion"] = list["cniVersion"].clone();
    let kind = config["type"].as_str().context("type")?.to_owned();
    let mut plugin = Command::new(Path::new("/usr/lib/cni").join(kind))
        .env("CNI_COMMAND", command)
        .env("CNI_CONTAINERID", id)
        .env("CNI_NETNS", file)
        .env("CNI_IFNAME", "eth0")
        .env("CNI_PATH", "/usr/lib/cni")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut input = plugin.stdin.take().context("stdin")?;
    input.write_all(config.to_string().as_bytes())?;
    drop(input);
    let ended = plugin.wait_with_output()?;
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    ensure!(ended.status.success(), "{command}: {said}");
    Ok(())
}

#[test]
fn status_and_list_under_load() -> Result<()> {
    node::run_within(Layout::V1, DEADLINE, || {
        let network = Bridge::new("net0", "10.80.0.0/16");
        let scene = Scene::open_with(&config()?, &[network])?;
        let cri = Cri::at(scene.client().address())?;
        let pid = scene.daemon().pid();
        let first = cri.run(pod("first", 0), "")?;
        let before = resident(pid)?;
        let mut ids = vec![first];
        for number in 1..PODS {
            ids.push(cri.run(pod(&format!("pod-{number}"), 0), "")?);
        }
        let after = resident(pid)?;
        println!(
            "{PODS} pods are up: {} KiB per pod in the daemon",
            (after - before) / (PODS as u64 - 1)
        );
        for idle in [true, false] {
            let walks = Arc::new(AtomicBool::new(!idle));
            let (mut list, mut status) = (Vec::new(), Vec::new());
            std::thread::scope(|scope| {
                let walker = scope.spawn(|| walk(scene.client().address(), &walks));
                let clients: Vec<_> = (0..CLIENTS)
                    .map(|number| {
                        scope.spawn({
                            let (ids, scene) = (&ids, &scene);
                            move || client(scene.client().address(), number, ids)
                        })
                    })
                    .collect();
                for client in clients {
                    let (lists, statuses) = joined(client.join())?;
                    list.extend(lists);
                    status.extend(statuses);
                }
                walks.store(false, Ordering::Relaxed);
                joined(walker.join())
            })?;
            let beside = if idle {
                "at rest"
            } else {
                "beside a pod that goes up and down"
            };
            println!(
                "{CLIENTS} clients, {beside}: list {}, status {}",
                spread(list),
                spread(status)
            );
        }
        for id in ids {
            cri.stop(&id)?;
            cri.remove(&id)?;
        }
        scene.close()
    })
}

fn joined<T>(end: std::thread::Result<Result<T>>) -> Result<T> {
    end.unwrap_or_else(|_| Err(anyhow::anyhow!("a thread panicked")))
}

/// Starts, stops and removes a pod as long as it is told to.
fn walk(socket: &Path, goes_on: &AtomicBool) -> Result<()> {
    let cri = Cri::at(socket)?;
    while goes_on.load(Ordering::Relaxed) {
        let id = cri.run(pod("walker", 0), "")?;
        cri.stop(&id)?;
        cri.remove(&id)?;
    }
    Ok(())
}

/// Relists and looks at pods as kubelet does, ten times: each second a list, and some statuses.
fn client(socket: &Path, number: usize, ids: &[String]) -> Result<(Vec<Duration>, Vec<Duration>)> {
    let cri = Cri::at(socket)?;
    let (mut lists, mut statuses) = (Vec::new(), Vec::new());
    for round in 0..10 {
        let next = Instant::now() + Duration::from_secs(1);
        let begin = Instant::now();
        let listed = cri.list(v1::PodSandboxFilter::default())?;
        lists.push(begin.elapsed());
        ensure!(listed.len() >= ids.len());
        for id in ids.iter().skip((number + round) % 7).step_by(7) {
            let begin = Instant::now();
            cri.status(id)?;
            statuses.push(begin.elapsed());
        }
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok((lists, statuses))
}

/// The memory of a process that is its own, KiB.
fn resident(pid: u32) -> Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = |name: &str| {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
    };
    let dirty = line("Private_Dirty:").context("Private_Dirty")?;
    Ok(dirty + line("Private_Clean:").context("Private_Clean")?)
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort();
    all[all.len() / 2]
}

fn spread(mut all: Vec<Duration>) -> String {
    all.sort();
    let at = |hundredth: usize| ms(all[(all.len() * hundredth / 100).min(all.len() - 1)]);
    format!(
        "p50 {:.2} ms, p99 {:.2} ms, worst {:.2} ms of {}",
        at(50),
        at(99),
        at(100),
        all.len()
    )
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
