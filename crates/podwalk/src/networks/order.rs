//! Which networks are attached before the sandbox starts, and which after it.

use std::collections::BTreeMap;

use crate::config::{Attach, Config, Network};

/// What the configuration says about when networks are attached.
#[derive(Debug, Clone, Default)]
pub struct Order {
    networks: BTreeMap<String, Network>,
    handlers: BTreeMap<String, BTreeMap<String, Network>>,
    default_handler: String,
}

impl Order {
    /// As it is configured.
    pub fn of(config: &Config) -> Self {
        let handlers = config.runtime.handlers.iter();
        Self {
            networks: config.cni.networks.clone(),
            handlers: handlers
                .map(|(name, handler)| (name.clone(), handler.networks.clone()))
                .collect(),
            default_handler: config.runtime.default.clone(),
        }
    }

    /// When a pod of this handler (the default for an empty name) is attached
    /// to a network.
    pub fn attach(&self, handler: &str, network: &str) -> Attach {
        let said = self.said(handler, network);
        said.map_or(Attach::BeforeStart, |(attach, _)| attach)
    }

    /// The key under which that is configured.
    pub fn key(&self, handler: &str, network: &str) -> Option<String> {
        self.said(handler, network).map(|(_, key)| key)
    }

    fn said(&self, handler: &str, network: &str) -> Option<(Attach, String)> {
        let handler = match handler.is_empty() {
            true => &self.default_handler,
            false => handler,
        };
        let of_handler = self.handlers.get(handler);
        let of_handler = of_handler.and_then(|networks| networks.get(network)?.attach);
        let of_network = self.networks.get(network).and_then(|one| one.attach);
        let of_handler = of_handler.map(|attach| {
            (
                attach,
                format!("runtime.handlers.{handler}.networks.{network}.attach"),
            )
        });
        of_handler.or_else(|| Some((of_network?, format!("cni.networks.{network}.attach"))))
    }
}
