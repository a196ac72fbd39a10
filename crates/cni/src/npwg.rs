//! Extra networks of a pod, from the annotation of the Network Plumbing Working Group.
//!
//! Two forms: `a,b@eth5,ns/c`, and a JSON list of objects. A key that is not understood is an
//! error, not ignored: a pod that runs without what it asked for is harder to find than one that
//! does not start.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::capability::{Bandwidth, CapabilityArgs, CapabilityError, PortMapping};
use crate::names::{is_identifier, is_interface_name};

/// The annotation's key.
pub const NETWORKS_ANNOTATION: &str = "k8s.v1.cni.cncf.io/networks";

/// One extra network that a pod asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkRequest {
    /// The network's name, as in a conflist.
    pub name: String,
    /// The namespace that was given; networks here have none, so it decides nothing.
    pub namespace: Option<String>,
    /// The interface name that is wanted.
    pub ifname: Option<String>,
    /// Capability arguments for this attachment alone.
    pub capability_args: Map<String, Value>,
    /// `cni-args`: goes to the plugins as `args.cni`.
    pub config_args: Map<String, Value>,
}

/// Why the annotation cannot be used. It names the annotation and the element.
#[derive(Debug, thiserror::Error)]
pub enum NetworksError {
    /// An element of the short form is empty or malformed.
    #[error(
        "annotation {NETWORKS_ANNOTATION}: {0:?} is not [namespace/]network[@interface]; correct that element"
    )]
    Element(String),
    /// The JSON form does not read.
    #[error("annotation {NETWORKS_ANNOTATION}: not a list of network objects: {0}")]
    Json(serde_json::Error),
    /// A network's name is not allowed.
    #[error("annotation {NETWORKS_ANNOTATION}: network name {0:?} is not allowed")]
    Name(String),
    /// An interface's name is not allowed.
    #[error(
        "annotation {NETWORKS_ANNOTATION}: network {network:?}: interface name {ifname:?} is not usable"
    )]
    Interface {
        /// The network.
        network: String,
        /// The name.
        ifname: String,
    },
    /// A capability argument is not allowed.
    #[error("annotation {NETWORKS_ANNOTATION}: network {network:?}: {source}")]
    Capability {
        /// The network.
        network: String,
        /// What is wrong.
        source: CapabilityError,
    },
}

/// Reads the annotation's value. An empty one asks for nothing.
///
/// # Errors
/// [`NetworksError`] for the first element that cannot be used.
pub fn parse_networks(annotation: &str) -> Result<Vec<NetworkRequest>, NetworksError> {
    let text = annotation.trim();
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let requests: Vec<NetworkRequest> = if text.starts_with(['[', '{']) {
        let elements: Vec<Element> = serde_json::from_str(text).map_err(NetworksError::Json)?;
        let requests = elements.into_iter().map(Element::into_request);
        requests.collect::<Result<_, _>>()?
    } else {
        text.split(',').map(short).collect::<Result<_, _>>()?
    };
    requests.iter().try_for_each(check)?;
    Ok(requests)
}

fn short(element: &str) -> Result<NetworkRequest, NetworksError> {
    let wrong = || NetworksError::Element(element.to_owned());
    let text = element.trim();
    let (rest, ifname) = match text.split_once('@') {
        Some((rest, ifname)) => (rest, Some(ifname.to_owned())),
        None => (text, None),
    };
    let (namespace, name) = match rest.split_once('/') {
        Some((namespace, name)) => (Some(namespace.to_owned()), name.to_owned()),
        None => (None, rest.to_owned()),
    };
    let broken = name.is_empty()
        || name.contains('/')
        || namespace.as_deref() == Some("")
        || ifname
            .as_deref()
            .is_some_and(|n| n.contains('@') || n.is_empty());
    if broken {
        return Err(wrong());
    }
    Ok(NetworkRequest {
        name,
        namespace,
        ifname,
        capability_args: Map::new(),
        config_args: Map::new(),
    })
}

fn check(request: &NetworkRequest) -> Result<(), NetworksError> {
    if !is_identifier(&request.name) {
        return Err(NetworksError::Name(request.name.clone()));
    }
    match &request.ifname {
        Some(ifname) if !is_interface_name(ifname) => Err(NetworksError::Interface {
            network: request.name.clone(),
            ifname: ifname.clone(),
        }),
        _ => Ok(()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Element {
    name: String,
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default)]
    interface: Option<String>,
    #[serde(default)]
    ips: Vec<String>,
    #[serde(default)]
    mac: Option<String>,
    #[serde(default)]
    bandwidth: Option<Bandwidth>,
    #[serde(default, rename = "portMappings")]
    port_mappings: Vec<PortMapping>,
    #[serde(default, rename = "infiniband-guid")]
    infiniband_guid: Option<String>,
    #[serde(default, rename = "cni-args")]
    cni_args: Option<Map<String, Value>>,
}

impl Element {
    fn into_request(self) -> Result<NetworkRequest, NetworksError> {
        let capability_args = self
            .capabilities()
            .map_err(|source| NetworksError::Capability {
                network: self.name.clone(),
                source,
            })?;
        Ok(NetworkRequest {
            name: self.name,
            namespace: self.namespace,
            ifname: self.interface,
            capability_args,
            config_args: self.cni_args.unwrap_or_default(),
        })
    }

    fn capabilities(&self) -> Result<Map<String, Value>, CapabilityError> {
        let mut offer = CapabilityArgs::new()
            .port_mappings(&self.port_mappings)?
            .ips(&self.ips)
            .bandwidth(self.bandwidth.unwrap_or_default())
            .infiniband_guid(self.infiniband_guid.as_deref().unwrap_or_default());
        if let Some(mac) = &self.mac {
            offer = offer.mac(mac)?;
        }
        Ok(offer.into_map())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn the_short_form_is_read() {
        let requests = parse_networks(" a, b@eth5 ,ns/c,ns/d@net9").unwrap();
        let read: Vec<_> = requests
            .iter()
            .map(|r| (r.name.as_str(), r.namespace.as_deref(), r.ifname.as_deref()))
            .collect();
        assert_eq!(
            read,
            [
                ("a", None, None),
                ("b", None, Some("eth5")),
                ("c", Some("ns"), None),
                ("d", Some("ns"), Some("net9")),
            ]
        );
        assert_eq!(parse_networks("  ").unwrap(), []);
    }

    #[test]
    fn the_json_form_is_read() {
        let text = r#"[{"name": "fast", "namespace": "x", "interface": "f0",
            "ips": ["10.2.0.9/16"], "mac": "c2:b0:57:49:47:f1",
            "bandwidth": {"ingressRate": 1000, "ingressBurst": 2000},
            "portMappings": [{"hostPort": 80, "containerPort": 8080, "protocol": "sctp"}],
            "cni-args": {"vlan": 7}}, {"name": "plain"}]"#;
        let requests = parse_networks(text).unwrap();
        assert_eq!(requests.len(), 2);
        assert_eq!(requests[0].ifname.as_deref(), Some("f0"));
        assert_eq!(
            Value::Object(requests[0].capability_args.clone()),
            json!({
                "portMappings": [{"hostPort": 80, "containerPort": 8080, "protocol": "sctp"}],
                "ips": ["10.2.0.9/16"],
                "bandwidth": {"ingressRate": 1000, "ingressBurst": 2000, "egressRate": 0, "egressBurst": 0},
                "mac": "c2:b0:57:49:47:f1",
            })
        );
        assert_eq!(requests[0].config_args["vlan"], 7);
        assert!(requests[1].capability_args.is_empty());
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let error = |text: &str| parse_networks(text).unwrap_err().to_string();
        for broken in ["a,,b", "@eth1", "a@", "/a", "ns/", "a/b/c", "a@b@c"] {
            let message = error(broken);
            assert!(
                message.contains("is not [namespace/]network[@interface]"),
                "{message}"
            );
        }
        assert!(error("-a").contains(r#""-a""#));
        assert!(error("a@with space").contains("with space"));
        assert!(error("[{}]").contains("missing field `name`"));
        assert!(error("{}").contains("not a list"));
        assert!(
            error(r#"[{"name": "a", "default-route": ["10.0.0.1"]}]"#).contains("default-route")
        );
        assert!(error(r#"[{"name": "a", "mac": "nope"}]"#).contains("hardware address"));
        let zero = r#"[{"name": "a", "portMappings": [{"hostPort": 0, "containerPort": 1, "protocol": "tcp"}]}]"#;
        assert!(error(zero).contains("1 to 65535"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,48}") {
            if let Ok(requests) = parse_networks(&text) {
                prop_assert!(requests.iter().all(|r| is_identifier(&r.name)));
            }
        }
    }
}
