//! Whether pods would get their network now: by CNI STATUS where the default network's plugins have
//! it, and otherwise by a configuration that loads.

use std::sync::Arc;
use std::time::{Duration, Instant};

use podwalk_cni::{CniError, Loaded};
use podwalk_cri::node::Condition;
use podwalk_engine::error::StepError;
use tokio::sync::watch;

use crate::networks::Networks;

/// STATUS starts a process per plugin, and kubelet asks each five seconds.
const FRESH: Duration = Duration::from_secs(4);

/// How long a client waits for plugins. One that takes longer goes on, and is heard the next time.
const PATIENCE: Duration = Duration::from_secs(2);

/// Kubernetes' word for it.
const NOT_READY: &str = "NetworkPluginNotReady";

/// Who asks, and remembers the answer for a while.
pub(super) struct Reporter {
    networks: Arc<Networks>,
    known: watch::Sender<Known>,
}

#[derive(Clone, Default)]
struct Known {
    last: Option<Report>,
    asking: bool,
}

#[derive(Clone)]
struct Report {
    at: Instant,
    /// What it is about: another configuration is asked anew.
    loaded: Arc<Loaded>,
    condition: Condition,
}

impl Reporter {
    pub(super) fn new(networks: Arc<Networks>) -> Self {
        Self {
            networks,
            known: watch::Sender::default(),
        }
    }

    /// The condition NetworkReady, at most some seconds old. Never waits for a plugin for long.
    pub(super) async fn condition(&self) -> Condition {
        let mut heard = self.known.subscribe();
        if let Some(condition) = self.fresh() {
            return condition;
        }
        self.ask();
        let answered = heard.wait_for(|known| !known.asking);
        match tokio::time::timeout(PATIENCE, answered).await {
            Ok(Ok(known)) => known.last.as_ref().map(|last| last.condition.clone()),
            Ok(Err(_)) | Err(_) => None,
        }
        .unwrap_or_else(silence)
    }

    fn fresh(&self) -> Option<Condition> {
        let known = self.known.borrow();
        let last = known.last.as_ref()?;
        let loaded = self.networks.loaded();
        let is_fresh = last.at.elapsed() < FRESH && Arc::ptr_eq(&last.loaded, &loaded);
        is_fresh.then(|| last.condition.clone())
    }

    /// Begins to ask, unless somebody does.
    fn ask(&self) {
        let begins = self
            .known
            .send_if_modified(|known| !std::mem::replace(&mut known.asking, true));
        if !begins {
            return;
        }
        let (networks, known) = (self.networks.clone(), self.known.clone());
        tokio::spawn(async move {
            let loaded = networks.loaded();
            let condition = ask(&networks, &loaded).await;
            known.send_modify(|known| {
                known.asking = false;
                known.last = Some(Report {
                    at: Instant::now(),
                    loaded,
                    condition,
                });
            });
        });
    }
}

async fn ask(networks: &Networks, loaded: &Loaded) -> Condition {
    let default = match networks.default_network(loaded) {
        Ok(default) => default,
        Err(error) => return without_configuration(&error),
    };
    match networks.cni().status(default).await {
        Ok(_) => Condition {
            holds: true,
            reason: String::new(),
            message: String::new(),
        },
        Err(error) => not_ready(default.name(), &error),
    }
}

fn without_configuration(error: &StepError) -> Condition {
    Condition {
        holds: false,
        reason: NOT_READY.to_owned(),
        message: error.to_string(),
    }
}

fn not_ready(network: &str, error: &CniError) -> Condition {
    Condition {
        holds: false,
        reason: NOT_READY.to_owned(),
        message: format!("network '{network}' is not ready: {error}"),
    }
}

fn silence() -> Condition {
    Condition {
        holds: false,
        reason: NOT_READY.to_owned(),
        message: format!(
            "the default network's plugins have not answered STATUS within {} s; they are waited \
             for up to cni.plugin_seconds",
            PATIENCE.as_secs()
        ),
    }
}
