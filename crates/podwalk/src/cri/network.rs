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

/// How long a client waits for plugins. One that takes longer goes on, and until it has answered or
/// its deadline is over what was said before holds.
const PATIENCE: Duration = Duration::from_secs(2);

/// Kubernetes' word for it.
const NOT_READY: &str = "NetworkPluginNotReady";

/// Who asks, and remembers the answer for a while.
pub(super) struct Reporter {
    networks: Arc<Networks>,
    known: watch::Sender<Known>,
}

#[derive(Default)]
struct Known {
    last: Option<Report>,
    /// The configuration whose plugins are being asked.
    asking: Option<Arc<Loaded>>,
}

impl Known {
    fn is_asking(&self, loaded: &Arc<Loaded>) -> bool {
        let asking = self.asking.as_ref();
        asking.is_some_and(|asking| Arc::ptr_eq(asking, loaded))
    }
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
        // Answered or not: what counts is what was said last of this configuration.
        let _ = tokio::time::timeout(PATIENCE, self.answered()).await;
        self.last().map_or_else(silence, |last| last.condition)
    }

    /// Returns when something fresh is known. Plugins are asked again when the answer is about a
    /// configuration that was replaced meanwhile.
    async fn answered(&self) {
        let mut heard = self.known.subscribe();
        while !self.is_fresh() {
            self.ask();
            // It does not fail: the sender is this reporter's own.
            let _ = heard.wait_for(|known| known.asking.is_none()).await;
        }
    }

    fn is_fresh(&self) -> bool {
        self.last().is_some_and(|last| last.at.elapsed() < FRESH)
    }

    /// What was said of the configuration that holds now.
    fn last(&self) -> Option<Report> {
        let last = self.known.borrow().last.clone()?;
        Arc::ptr_eq(&last.loaded, &self.networks.loaded()).then_some(last)
    }

    /// Begins to ask, unless somebody does. Who asks about a configuration that was replaced is not
    /// waited for, since its plugins may hang.
    fn ask(&self) {
        let loaded = self.networks.loaded();
        let begins = self.known.send_if_modified(|known| {
            let begins = !known.is_asking(&loaded);
            if begins {
                known.asking = Some(loaded.clone());
            }
            begins
        });
        if !begins {
            return;
        }
        let (networks, asking) = (self.networks.clone(), Asking(self.known.clone(), loaded));
        tokio::spawn(async move {
            let condition = ask(&networks, &asking.1).await;
            asking.tell(condition);
        });
    }
}

/// Somebody asks about a configuration, until this is dropped, however that comes.
struct Asking(watch::Sender<Known>, Arc<Loaded>);

impl Asking {
    fn tell(&self, condition: Condition) {
        let report = Report {
            at: Instant::now(),
            loaded: self.1.clone(),
            condition,
        };
        self.0.send_if_modified(|known| {
            let counts = known.is_asking(&self.1);
            if counts {
                known.last = Some(report);
            }
            counts
        });
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.send_if_modified(|known| {
            let was_asking = known.is_asking(&self.1);
            if was_asking {
                known.asking = None;
            }
            was_asking
        });
    }
}

async fn ask(networks: &Networks, loaded: &Loaded) -> Condition {
    // Of pods that name no handler, as those do that every node must be able to run.
    let default = match networks.default_network("", loaded) {
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

#[cfg(test)]
mod tests;
