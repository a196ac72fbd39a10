//! What the daemon lends to the CRI services: names, addresses, figures, and how it stands with the
//! network.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use podwalk_cni::{Cidr, CidrError};
use podwalk_cri::node::{CgroupDriver, Condition, Handler, Node, Usage};
use podwalk_engine::PodId;
use podwalk_engine::engine::PodView;
use podwalk_engine::ports::BoxFuture;
use serde_json::Value;

use crate::api::PodDetail;
use crate::server::{Served, settings};
use crate::world::fresh_id;

mod network;
mod usage;

/// The CRI services' routes. What is no route of theirs is the caller's to answer.
pub(crate) fn routes(served: &Served, state_dir: PathBuf) -> Router {
    let lent = Lent {
        network: network::Reporter::new(served.default_networks.clone()),
        served: served.clone(),
        state_dir,
        pod_cidr: Mutex::default(),
    };
    podwalk_cri::routes(served.engine.clone(), Arc::new(lent))
}

struct Lent {
    served: Served,
    network: network::Reporter,
    state_dir: PathBuf,
    pod_cidr: Mutex<String>,
}

impl Node for Lent {
    fn fresh_id(&self) -> io::Result<PodId> {
        fresh_id(self.served.instance)
    }

    fn version(&self) -> String {
        env!("CARGO_PKG_VERSION").to_owned()
    }

    fn seen(&self, view: PodView) -> PodView {
        self.served.seen(view)
    }

    fn addresses(&self, view: &PodView) -> Vec<IpAddr> {
        settings(&self.served.engine, view).addresses()
    }

    fn inspect(&self, view: &PodView) -> Value {
        let settings = settings(&self.served.engine, view);
        serde_json::to_value(PodDetail::of(view, settings)).unwrap_or_default()
    }

    fn handlers(&self) -> Vec<Handler> {
        let default = self.served.handlers.default_name();
        let others = self.served.handlers.names();
        let named = others.filter(|name| *name != default);
        let names = ["", default].into_iter().chain(named);
        names
            .map(|name| Handler {
                name: name.to_owned(),
                user_namespaces: self.served.handlers.has_user_namespaces(name),
            })
            .collect()
    }

    fn handler_is_present(&self, name: &str) -> bool {
        self.served.handlers.is_present(name)
    }

    fn cgroup_driver(&self) -> CgroupDriver {
        // Cgroups are made by their paths, a slice's too.
        CgroupDriver::Cgroupfs
    }

    fn network(&self) -> BoxFuture<'_, Condition> {
        Box::pin(self.network.condition())
    }

    fn usage<'a>(&'a self, view: &'a PodView) -> BoxFuture<'a, io::Result<Usage>> {
        Box::pin(usage::of(&self.served, view))
    }

    fn image_directory(&self) -> PathBuf {
        self.state_dir.clone()
    }

    fn set_pod_cidr(&self, cidr: &str) -> Result<(), String> {
        check_ranges(cidr)?;
        let mut known = self.pod_cidr.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != cidr {
            tracing::info!(
                cidr,
                "kubelet tells the range of pod addresses; networks are configured by conflists"
            );
            cidr.clone_into(&mut known);
        }
        Ok(())
    }
}

/// Ranges of addresses, at most one for each version of IP, as kubelet's `--pod-cidr` has them.
fn check_ranges(text: &str) -> Result<(), String> {
    let ranges = text.split(',').filter(|_| !text.is_empty());
    let parsed: Result<Vec<Cidr>, CidrError> = ranges.map(str::parse).collect();
    let parsed = parsed.map_err(|error| error.to_string())?;
    let of_v4 = parsed
        .iter()
        .filter(|range| range.address.is_ipv4())
        .count();
    match of_v4 > 1 || parsed.len() - of_v4 > 1 {
        true => Err("there is more than one range of a version of IP (name one each)".to_owned()),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_addresses_are_ranges() {
        for right in ["", "10.1.0.0/24", "10.1.0.0/24,fd00:1::/64"] {
            assert_eq!(check_ranges(right), Ok(()), "{right}");
        }
        for wrong in [
            "10.1.0.0",
            "10.1.0.0/33",
            "10.1.0.0/24,",
            "x/8",
            "10.1.0.0/24,10.2.0.0/24",
            "fd00:1::/64,10.1.0.0/24,fd00:2::/64",
        ] {
            assert!(check_ranges(wrong).is_err(), "{wrong}");
        }
    }
}
