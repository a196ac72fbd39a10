//! The daemon is killed at every point that the code announces, and its successor finds its
//! way: whatever was left is told by a probe and ended by a delete.
//!
//! A child walks up and down and kills itself at its n-th point; n grows until the child comes
//! through. So the points are those of the code, and none is missed.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::node::{World, quiet};
use podwalk_oci::{Bundle, Probe, SandboxConfig, Target};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// Set in the child: at which point it ends.
const CRASH_AT: &str = "PODWALK_OCI_CRASH_AT";
/// The points that were reached, one line each.
const REACHED: &str = "/run/reached";
/// How much later each cut is than the one before it, on a machine that starts fast.
const CUT_STEP: Duration = Duration::from_micros(700);
/// How many cuts a start gets at most, about. Each takes as long as the start has come, so that on a
/// slow machine their number must not grow with the time that a start takes.
const CUTS: u32 = 60;
/// More points than a walk can have; the enumeration must end before.
const TOO_MANY: u32 = 60;

everywhere! {
    /// SIGKILL at every point of a start and its undoing.
    scenario_46_a_crash_at_any_point_leaves_nothing;
    /// A start that is cut anywhere, also in the middle of the runtime's own work.
    a_start_that_is_cut_anywhere_leaves_nothing;
    /// The same in a user namespace, for which a runtime has more to do.
    a_mapped_start_that_is_cut_anywhere_leaves_nothing;
}

mod bodies {
    use super::{World, crash_everywhere, cut_everywhere};
    use crate::isolation::mapped;

    pub(crate) async fn scenario_46_a_crash_at_any_point_leaves_nothing(world: World) {
        crash_everywhere(world).await;
    }

    pub(crate) async fn a_start_that_is_cut_anywhere_leaves_nothing(world: World) {
        let config = world.config();
        cut_everywhere(world, config).await;
    }

    pub(crate) async fn a_mapped_start_that_is_cut_anywhere_leaves_nothing(world: World) {
        let mut config = world.config();
        config.user_namespace = mapped(None);
        cut_everywhere(world, config).await;
    }
}

async fn crash_everywhere(world: World) {
    if is_child() {
        return walk(&world).await;
    }
    let mut found = BTreeSet::new();
    let mut at = 1;
    while !comes_through(at) {
        found.insert(recover(&world).await);
        at += 1;
    }
    world.assert_nothing_left();
    // The crashes must have met the start before it, in it, and after it. Between create and
    // start is missing for crun: its process is still the runtime's then, and quieted.
    for expected in ["Absent", "Running", "Stopped"] {
        assert!(found.contains(expected), "never {expected}: {found:?}");
    }
    assert_reached(&announced());
}

/// Whether this is the child that walks; then it will end at its point.
pub(crate) fn is_child() -> bool {
    let at = std::env::var(CRASH_AT);
    if let Ok(at) = &at {
        install_crash(at.parse().unwrap());
    }
    at.is_ok()
}

/// Every point was met by a child.
pub(crate) fn assert_reached(announced: &BTreeSet<&str>) {
    let reached = fs::read_to_string(REACHED).unwrap();
    let names: BTreeSet<&str> = reached.lines().collect();
    let missed: Vec<&&str> = announced.difference(&names).collect();
    assert!(missed.is_empty(), "never reached: {missed:?}");
}

/// The points in sources: what is quoted and starts so.
pub(crate) fn quoted<'a>(sources: &[&'a str], prefix: &str) -> BTreeSet<&'a str> {
    let quoted = sources.iter().flat_map(|source| source.split('"'));
    let points = quoted.filter(|text| text.starts_with(prefix) && !text.contains(' '));
    points.collect()
}

/// Drops the start after longer and longer times, until it comes through. The times only spread
/// the cuts over the runtime's work; what is checked holds wherever they fall.
async fn cut_everywhere(world: World, config: SandboxConfig) {
    let bundle = Bundle::write(&config, &world.bundles).unwrap();
    let begin = Instant::now();
    world.runtime.create_and_start(&bundle).await.unwrap();
    let step = cut_step(CUT_STEP, begin.elapsed());
    recover(&world).await;
    let mut patience = Duration::ZERO;
    loop {
        let bundle = Bundle::write(&config, &world.bundles).unwrap();
        let start = world.runtime.create_and_start(&bundle);
        let started = tokio::time::timeout(patience, start).await;
        recover(&world).await;
        if let Ok(started) = started {
            started.unwrap();
            break;
        }
        patience += step;
    }
}

/// How much later each cut is, where a whole start has taken `full`.
pub(crate) fn cut_step(usual: Duration, full: Duration) -> Duration {
    usual.max(full / CUTS)
}

/// The points in the code of what the walk uses.
fn announced() -> BTreeSet<&'static str> {
    let sources = [
        include_str!("../../src/bundle.rs"),
        include_str!("../../src/runtime.rs"),
        include_str!("../../src/runtime/end.rs"),
        include_str!("../../src/runtime/probe.rs"),
    ];
    let points = quoted(&sources, "oci.");
    // A virtual machine's, what only a killed runtime leaves, and those that change nothing.
    let elsewhere = [
        "oci.leftover.removed",
        "oci.kill.spawned",
        "oci.state.spawned",
        "oci.version.spawned",
    ];
    points
        .into_iter()
        .filter(|point| !elsewhere.contains(point))
        .collect()
}

async fn walk(world: &World) {
    let target = world.start().await;
    world.runtime.kill(&target).await.unwrap();
    world.runtime.delete(&target).await.unwrap();
    Bundle::remove(&world.bundles, &target.id).unwrap();
}

/// Runs the walk in a child that ends at its `at`-th point. True if there is no such point.
pub(crate) fn comes_through(at: u32) -> bool {
    assert!(at < TOO_MANY, "the walk does not come through");
    let child = Command::new(std::env::current_exe().unwrap())
        .args(std::env::args().skip(1))
        .env(CRASH_AT, at.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    let killed = child.signal() == Some(rustix::process::Signal::KILL.as_raw());
    assert!(killed || child.success(), "at point {at}: {child:?}");
    !killed
}

/// What a successor does that knows of the sandbox from its record of the intent only.
async fn recover(world: &World) -> &'static str {
    let target = world.target();
    quiet(target.id.as_str());
    let found = match world.runtime.probe(&target).await.unwrap() {
        Probe::Absent => "Absent",
        Probe::Partial { .. } => "Partial",
        Probe::Created { .. } => "Created",
        Probe::Running { process } => {
            let known = Target {
                process: Some(process),
                ..target.clone()
            };
            world.runtime.kill(&known).await.unwrap();
            "Running"
        }
        Probe::Stopped => "Stopped",
        other => panic!("{other:?}"),
    };
    world.runtime.delete(&target).await.unwrap();
    assert_eq!(world.runtime.probe(&target).await.unwrap(), Probe::Absent);
    Bundle::remove(&world.bundles, &target.id).unwrap();
    world.assert_nothing_left();
    found
}

fn install_crash(at: u32) {
    let crash = Crash {
        at,
        count: AtomicU32::new(0),
    };
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(crash)).unwrap();
}

/// Kills the process at the n-th announced point.
struct Crash {
    at: u32,
    count: AtomicU32,
}

impl<S: tracing::Subscriber> Layer<S> for Crash {
    fn on_event(&self, event: &tracing::Event<'_>, _context: Context<'_, S>) {
        if event.metadata().target() != "podwalk::point" {
            return;
        }
        event.record(&mut Name);
        if self.count.fetch_add(1, Ordering::SeqCst) + 1 == self.at {
            let own = rustix::process::getpid();
            rustix::process::kill_process(own, rustix::process::Signal::KILL).unwrap();
        }
    }
}

/// Writes a point's name down before the process may end.
struct Name;

impl tracing::field::Visit for Name {
    fn record_debug(&mut self, _field: &tracing::field::Field, value: &dyn Debug) {
        let mut file = fs::OpenOptions::new();
        let mut file = file.create(true).append(true).open(REACHED).unwrap();
        let name = format!("{value:?}").replace('"', "");
        std::io::Write::write_all(&mut file, format!("{name}\n").as_bytes()).unwrap();
    }
}
