//! The daemon: adapters wired to the engine, the engine to a socket.
//!
//! 1. Where things are: directories, instance, clocks. The namespace directory
//!    is made a shared mount.
//! 2. The journal is opened; a second daemon ends here.
//! 3. The engine folds it. From here on everything can be asked.
//! 4. The socket is opened and systemd told; recovery runs beside it.
//! 5. SIGTERM: no new effect, a bounded wait, and out. Pods run on.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use podwalk_cni::{ConfigDir, RuntimeOptions};
use podwalk_engine::decide::Policy;
use podwalk_engine::engine::{Engine, EngineConfig, Parts};
use podwalk_engine::id::InstanceId;
use podwalk_engine::recovery::RecoveryPlan;
use podwalk_netns::effects::{CgroupLayout, Effects};
use podwalk_store::{OpenOptions, SledJournal};
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::config::{Config, LogFormat};
use crate::handlers::Handlers;
use crate::networks::{Networks, Order};
use crate::orphans::Orphans;
use crate::quarantine::{Places, Quarantine};
use crate::rungs::{Host, Watched};
use crate::server::{Served, routes};
use crate::world::{SystemClock, TokioSpawn, instance};

mod arguments;
mod authority;
mod collect;
mod conflists;
mod enlist;
mod socket;
mod sweep;
mod watch;

pub use arguments::ServeArgs;

/// Where the journal is, in a state directory.
pub fn journal_dir(state_dir: &Path) -> PathBuf {
    state_dir.join("journal")
}

/// Runs the daemon until it is told to end.
///
/// # Errors
/// When it cannot begin; the text says what is in the way.
pub async fn serve(args: ServeArgs) -> anyhow::Result<()> {
    let config = args.configuration()?;
    begin_log(&config)?;
    run(config).await
}

fn begin_log(config: &Config) -> anyhow::Result<()> {
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::util::SubscriberInitExt;
    let filter = tracing_subscriber::EnvFilter::try_new(&config.log.filter)
        .with_context(|| format!("log.filter = '{}' is no filter", config.log.filter))?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry();
    // An embedder, or a test, may have begun a log of its own.
    let _ = match config.log.format {
        LogFormat::Text => registry
            .with(tracing_subscriber::Layer::with_filter(
                lines.with_ansi(false),
                filter,
            ))
            .try_init(),
        LogFormat::Json => registry
            .with(tracing_subscriber::Layer::with_filter(lines.json(), filter))
            .try_init(),
    };
    Ok(())
}

/// A node with everything wired: the engine, and what goes with it. This is
/// what an embedder opens; the daemon is this, and a socket.
pub struct Node {
    /// The engine.
    pub engine: Engine,
    /// What [`Engine::recover`] is to carry out.
    pub plan: RecoveryPlan,
    /// The state directory's own name: every pod id ends with it.
    pub instance: InstanceId,
    networks: Arc<Networks>,
    default_networks: Arc<Networks>,
    all_networks: Vec<Arc<Networks>>,
    handlers: Arc<Handlers>,
    effects: Arc<Effects>,
    quarantine: Quarantine,
}

/// Opens a node: directories, journal, adapters, engine. Sandboxes and the
/// directory of conflists are watched from here on, on the current runtime.
///
/// # Errors
/// When something is in the way; the text says what.
pub async fn open(config: &Config) -> anyhow::Result<Node> {
    prepare_directories(config)?;
    // Of two that begin in a new directory only one goes on from here, and so
    // only one gives it a name.
    let journal = Arc::new(open_journal(config).await?);
    let instance = instance(&config.state_dir)?;
    let (watch, watched) = mpsc::unbounded_channel();
    let host = adapters(config, instance, watch)?;
    quiet_calls_of_no_pod(&host.effects, instance).await;
    let parts = Parts {
        journal: journal.clone(),
        rungs: host.rungs(),
        clock: Arc::new(SystemClock::new()?),
        spawn: Arc::new(TokioSpawn::current()),
        config: engine_config(config)?,
    };
    let (engine, plan) = Engine::open(parts)
        .await
        .context("the journal cannot be replayed")?;
    for (pod, reason) in &plan.quarantined {
        tracing::error!(%pod, %reason, "a pod does not decode: it is in quarantine, with its bytes kept");
    }
    tell_orphaned(&plan, &host.handlers);
    sweep::sweep(&config.netns_dir, instance, &plan);
    host.networks
        .adopt(plan.pods.iter().map(|planned| &planned.pod));
    tokio::spawn(watch::watch(engine.clone(), watched));
    let all_networks = host.all_networks();
    for networks in &all_networks {
        tokio::spawn(conflists::watch(networks.clone()));
    }
    Ok(Node {
        quarantine: Quarantine::new(engine.clone(), journal, places(config)),
        engine,
        plan,
        instance,
        default_networks: host.networks_of_handler("").clone(),
        networks: host.networks,
        all_networks,
        handlers: host.handlers,
        effects: host.effects,
    })
}

fn places(config: &Config) -> Places {
    Places {
        kept: config.state_dir.join("quarantine"),
        netns_dir: config.netns_dir.clone(),
        run_dir: config.run_dir.clone(),
    }
}

/// Says whose handler is not configured any more: those pods stay, and are not
/// ready.
fn tell_orphaned(plan: &RecoveryPlan, handlers: &Handlers) {
    for planned in &plan.pods {
        if let Err(error) = handlers.of(&planned.pod) {
            tracing::error!(pod = %planned.pod.id, name = planned.pod.spec.name, %error, "a pod cannot be used until its handler is back");
        }
    }
}

impl Node {
    /// The networks that pods are attached to.
    pub fn networks(&self) -> &Networks {
        &self.networks
    }

    /// Pods that do not decode.
    pub fn quarantine(&self) -> &Quarantine {
        &self.quarantine
    }

    /// Ends what [`open`] began: no new effect, and a wait for those under way
    /// of at most `bound`. Pods run on.
    pub async fn close(self, bound: Duration) {
        if tokio::time::timeout(bound, self.engine.shutdown())
            .await
            .is_err()
        {
            tracing::warn!("effects are still under way: they are found at the next start");
        }
        // Calls that are for no pod are cut short; the place of all effects goes
        // when no pod's is in it any more.
        quiet_calls_of_no_pod(&self.effects, self.instance).await;
        if let Err(error) = self.effects.disband() {
            tracing::debug!(%error, "the cgroup of effects stays");
        }
    }
}

/// Runs the daemon with a whole configuration, and a log begun.
///
/// # Errors
/// As for [`serve`].
pub async fn run(config: Config) -> anyhow::Result<()> {
    let mut node = open(&config).await?;
    let listener = socket::listen(&config.listen)?;
    let plan = std::mem::take(&mut node.plan);
    let collected = collect::collect(
        node.engine.clone(),
        std::mem::take(&mut node.all_networks),
        config.cni.exclusive_networks.clone(),
    );
    let engine = node.engine.clone();
    tokio::spawn(async move {
        recover(engine, plan).await;
        collected.await;
    });
    answer(&config, listener, node).await
}

/// The real rungs without an engine ([`Host::rungs`]), for who has an engine, a
/// journal or tests of his own. Directories are prepared as by [`open`]; each
/// sandbox that is started is sent to `watch`.
///
/// # Errors
/// When a directory cannot be made or a handler is configured wrongly.
pub fn host(
    config: &Config,
    instance: InstanceId,
    watch: mpsc::UnboundedSender<Watched>,
) -> anyhow::Result<Host> {
    prepare_directories(config)?;
    adapters(config, instance, watch)
}

/// Ends STATUS, VERSION and GC calls, an earlier daemon's too.
async fn quiet_calls_of_no_pod(effects: &Arc<Effects>, instance: InstanceId) {
    let effects = effects.clone();
    let quiet = move || effects.quiet(&enlist::of_no_pod(instance), Duration::from_secs(5));
    match tokio::task::spawn_blocking(quiet).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::warn!(%error, "a plugin's call does not end"),
        Err(error) => tracing::debug!(%error, "the runtime is ending"),
    }
}

fn prepare_directories(config: &Config) -> anyhow::Result<()> {
    if !config.private_mounts && !podwalk_netns::is_host_mount_namespace()? {
        anyhow::bail!(
            "this is not PID 1's mount namespace: namespaces that are pinned here would go with it \
             (start the daemon outside, or accept it with --private-mounts)"
        );
    }
    let journal = journal_dir(&config.state_dir);
    // Sandboxes in a user namespace walk through the run directory to their bundles, and look into
    // none on the way.
    let directories = [
        (&config.state_dir, 0o700),
        (&journal, 0o700),
        (&config.run_dir, 0o711),
    ];
    for (directory, mode) in directories {
        make(directory, mode).with_context(|| {
            format!(
                "{} cannot be made (its file system must be writable, and the daemon root)",
                directory.display()
            )
        })?;
    }
    podwalk_netns::share_directory(&config.netns_dir)?;
    Ok(())
}

/// Makes a directory. One that is there already may be somebody else's too, such
/// as `/run`, and keeps its mode.
fn make(directory: &Path, mode: u32) -> std::io::Result<()> {
    if let Some(parent) = directory.parent() {
        std::fs::create_dir_all(parent)?;
    }
    match std::fs::DirBuilder::new().mode(mode).create(directory) {
        Err(_) if directory.is_dir() => Ok(()),
        made => made,
    }
}

/// Opening syncs and may read a lot: not on the threads that answer.
async fn open_journal(config: &Config) -> anyhow::Result<SledJournal> {
    let directory = journal_dir(&config.state_dir);
    let options = OpenOptions::new(&directory);
    let journal = tokio::task::spawn_blocking(move || SledJournal::open(options)).await?;
    let journal =
        journal.with_context(|| format!("the journal in {} does not open", directory.display()))?;
    for warning in &journal.report().warnings {
        tracing::error!(%warning, "the journal has lost something: look for orphans");
    }
    Ok(journal)
}

fn engine_config(config: &Config) -> anyhow::Result<EngineConfig> {
    let netns_dir = config.netns_dir.to_str();
    let netns_dir = netns_dir.context("netns_dir is not UTF-8")?;
    Ok(EngineConfig {
        netns_dir: netns_dir.trim_end_matches('/').to_owned(),
        policy: Policy {
            resume: config.recovery.resume,
            attempts: config.recovery.attempts,
            debt_grace: Duration::from_secs(config.debts.grace_seconds),
        },
        recovery_at_once: config.recovery.at_once,
    })
}

fn adapters(
    config: &Config,
    instance: InstanceId,
    watch: mpsc::UnboundedSender<Watched>,
) -> anyhow::Result<Host> {
    let layout = CgroupLayout::detect().context("the cgroup layout cannot be read")?;
    tracing::debug!(?layout, "cgroups");
    let effects = Arc::new(Effects::new(layout, &config.cgroup.effects)?);
    let enlist = Arc::new(enlist::Enlist::new(effects.clone(), instance));
    let mut options = RuntimeOptions::new(config.cni.bin_dirs.clone());
    options.spawn = enlist.clone();
    options.plugin_deadline = config.plugin_deadline();
    let loaded = ConfigDir::new(&config.cni.conf_dir).load();
    let directory = config.cni.conf_dir.clone();
    let cni = podwalk_cni::Runtime::new(options);
    let networks = Networks::new(cni, loaded, directory).in_order(Order::of(config));
    Ok(Host {
        handler_networks: Arc::new(conflists::of_handlers(config, &networks)),
        networks: Arc::new(networks),
        handlers: Arc::new(Handlers::new(config, enlist)?),
        effects,
        allowed_sysctls: Arc::new(config.sysctls.allowed_unsafe.clone()),
        watch,
        cni_deadline: Duration::from_secs(config.cni.step_seconds),
        turns: Arc::default(),
    })
}

async fn recover(engine: Engine, plan: RecoveryPlan) {
    if plan.pods.is_empty() {
        return;
    }
    for planned in &plan.pods {
        let steps: Vec<String> = planned.steps.iter().map(ToString::to_string).collect();
        tracing::info!(
            pod = %planned.pod.id, name = planned.pod.spec.name, verdict = ?planned.verdict,
            steps = steps.join(", "), "recovering"
        );
    }
    let report = engine.recover(&plan).await;
    tracing::info!(
        started = report.started.len(),
        at_rest = report.at_rest.len(),
        gone = report.gone.len(),
        owing = report.owing.len(),
        "recovered"
    );
}

/// Answers until told to end.
async fn answer(config: &Config, listener: UnixListener, node: Node) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be caught")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be caught")?;
    notify(&[sd_notify::NotifyState::Ready]);
    tracing::info!(socket = %config.listen.display(), "ready");
    let served = Served {
        engine: node.engine.clone(),
        instance: node.instance,
        handlers: node.handlers.clone(),
        networks: node.networks.clone(),
        default_networks: node.default_networks.clone(),
        quarantine: node.quarantine.clone(),
        orphans: Orphans::new(node.engine.clone(), node.instance, config.netns_dir.clone()),
    };
    let cri = crate::cri::routes(&served, config.state_dir.clone());
    // Each API answers what the other does not know: an unknown service is told as an unknown route.
    let api = routes(served).merge(cri);
    let listener = authority::Listener::new(listener);
    let api = tokio::spawn(async move { axum::serve(listener, api).await });
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        end = api => {
            let end = end.context("the API's task has died")?;
            return end.context("the socket cannot be served any more");
        }
    }
    notify(&[sd_notify::NotifyState::Stopping]);
    tokio::select! {
        () = node.close(Duration::from_secs(config.shutdown_seconds)) => {}
        _ = terminate.recv() => tracing::warn!("told twice: ending at once"),
        _ = interrupt.recv() => tracing::warn!("told twice: ending at once"),
    }
    socket::close(&config.listen);
    Ok(())
}

/// Tells systemd, where it listens.
fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd cannot be told");
    }
}
