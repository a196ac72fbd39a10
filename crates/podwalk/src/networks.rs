//! Which networks a pod is attached to, and with what.
//!
//! The default network is the lexically first conflist; a pod asks for more
//! by the annotation of the Network Plumbing Working Group. A plan is made of
//! the configuration as it is now, and then pinned: every later operation on
//! the pod uses the pinned bytes, whatever becomes of the files.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use podwalk_cni::{
    Attachment, Bandwidth, CapabilityArgs, CniError, Conflist, DnsOffer, Loaded, NetworkRequest,
    Runtime, interface_names, parse_networks,
};
use podwalk_engine::error::{ErrorKind, StepError};
use podwalk_engine::id::PodId;
use podwalk_engine::pod::{Pod, Status};
use podwalk_engine::record::PlannedAttachment;
use podwalk_engine::spec::{PodSpec, Protocol};
use podwalk_engine::step::NetworkMode;
use serde_json::{Map, Value};

use crate::config::Attach;

mod order;

pub use order::Order;

/// The loaded conflists, and the runtime that uses them.
pub struct Networks {
    cni: Arc<Runtime>,
    loaded: RwLock<Arc<Loaded>>,
    directory: PathBuf,
    order: Order,
}

impl Networks {
    /// With what was loaded from `directory` so far.
    pub fn new(cni: impl Into<Arc<Runtime>>, loaded: Loaded, directory: PathBuf) -> Self {
        Self {
            cni: cni.into(),
            loaded: RwLock::new(Arc::new(loaded)),
            directory,
            order: Order::default(),
        }
    }

    /// The conflists of another directory, for the same runtime: one that knows all attachments.
    #[must_use]
    pub fn beside(&self, loaded: Loaded, directory: PathBuf) -> Self {
        Self::new(self.cni.clone(), loaded, directory).in_order(self.order.clone())
    }

    /// The same, with networks that are attached when the sandbox runs.
    #[must_use]
    pub fn in_order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// The CNI runtime.
    pub fn cni(&self) -> &Runtime {
        &self.cni
    }

    /// Where its conflists are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Takes over the attachments of an earlier process, so that CHECK is
    /// allowed for them and a second ADD is not.
    pub fn adopt<'a>(&self, pods: impl Iterator<Item = &'a Pod>) {
        for pod in pods {
            let is_attached =
                |planned: &&PlannedAttachment| pod.status(planned.step()) == Status::Done;
            for planned in pod.plan.iter().filter(is_attached) {
                let attachment = Attachment::new(pod.id.to_string(), planned.interface.clone());
                self.cni.adopt(attachment.id());
            }
        }
    }

    /// Takes in what the directory holds now. What differs in nothing is not taken for another:
    /// what was learnt about the configuration keeps holding.
    pub fn replace(&self, loaded: Arc<Loaded>) {
        for (path, error) in &loaded.broken {
            tracing::warn!(path = %path.display(), %error, "a network configuration is broken");
        }
        let mut current = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        if !current.same_as(&loaded) {
            *current = loaded;
        }
    }

    /// What the directory held when it was last read.
    pub fn loaded(&self) -> Arc<Loaded> {
        let current = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        current.clone()
    }

    /// The attachments of a pod: the default network's first, and last those
    /// that are attached when the sandbox runs.
    ///
    /// # Errors
    /// When a network that it needs is not there, what it asks for is not
    /// allowed, or the default network is not to be attached before the
    /// sandbox starts.
    pub fn plan(&self, spec: &PodSpec) -> Result<Vec<PlannedAttachment>, StepError> {
        if spec.network != NetworkMode::Cni {
            return Ok(Vec::new());
        }
        let loaded = self.loaded();
        let default = self.default_network(&spec.runtime_handler, &loaded)?;
        let requests = match spec.annotations.get(podwalk_cni::NETWORKS_ANNOTATION) {
            None => Vec::new(),
            Some(annotation) => parse_networks(annotation).map_err(|e| invalid(&e))?,
        };
        let asked = requests.iter().map(|request| request.ifname.as_deref());
        let names = interface_names(std::iter::once(None).chain(asked)).map_err(|e| invalid(&e))?;
        let mut names = names.into_iter();
        let mut plan = Vec::new();
        let first = names.next().unwrap_or_default();
        plan.push(planned(spec, default, first, offer(spec)?, Map::new()));
        for (request, name) in requests.into_iter().zip(names) {
            let network = self.named(&loaded, &request)?;
            let offer = request.capability_args;
            plan.push(planned(spec, network, name, offer, request.config_args));
        }
        // Names are given before, so that an interface is called as the pod asked whenever it
        // comes.
        for planned in plan.iter_mut().skip(1) {
            planned.late = self.is_late(&spec.runtime_handler, &planned.network);
        }
        plan.sort_by_key(|planned| planned.late);
        Ok(plan)
    }

    fn is_late(&self, handler: &str, network: &str) -> bool {
        self.order.attach(handler, network) == Attach::AfterStart
    }

    fn late_default(&self, handler: &str, network: &str) -> StepError {
        let key = self.order.key(handler, network).unwrap_or_default();
        let message = format!(
            "network '{network}' is the default network, which is attached before the sandbox \
             starts, and {key} = 'after-start' says otherwise"
        );
        StepError::new(ErrorKind::Environment, message).remedy(format!(
            "take {key} out of the configuration and restart the daemon, or let another conflist \
             in {} be the first",
            self.directory.display()
        ))
    }

    /// The network that every pod of this handler (the default for an empty name) is attached to.
    ///
    /// # Errors
    /// When there is none (the text says what is in the directory instead), or it is not to be
    /// attached before the sandbox starts.
    pub fn default_network<'a>(
        &self,
        handler: &str,
        loaded: &'a Loaded,
    ) -> Result<&'a Conflist, StepError> {
        let default = loaded.default_network();
        let default = default.ok_or_else(|| self.no_network(loaded))?;
        match self.is_late(handler, default.name()) {
            true => Err(self.late_default(handler, default.name())),
            false => Ok(default),
        }
    }

    fn named<'a>(
        &self,
        loaded: &'a Loaded,
        request: &NetworkRequest,
    ) -> Result<&'a Conflist, StepError> {
        loaded.network(&request.name).ok_or_else(|| {
            let known = loaded.networks.iter().map(|network| network.name());
            let known: Vec<_> = known.collect();
            StepError::new(
                ErrorKind::Environment,
                format!(
                    "there is no network '{}' in {}",
                    request.name,
                    self.directory.display()
                ),
            )
            .remedy(format!("known are: {}", known.join(", ")))
        })
    }

    fn no_network(&self, loaded: &Loaded) -> StepError {
        let broken = loaded.broken.iter();
        let broken: Vec<_> = broken
            .map(|(path, error)| format!("{}: {error}", path.display()))
            .collect();
        let message = match broken.is_empty() {
            true => format!(
                "there is no network configuration in {}",
                self.directory.display()
            ),
            false => format!(
                "no network configuration can be used: {}",
                broken.join("; ")
            ),
        };
        StepError::new(ErrorKind::Environment, message)
            .remedy(format!("put a conflist into {}", self.directory.display()))
    }
}

fn invalid(error: &dyn std::error::Error) -> StepError {
    StepError::new(ErrorKind::Invalid, error.to_string())
}

/// A CNI error as a step's. It names network, plugin and remedy itself.
pub fn of_cni(error: &CniError) -> StepError {
    let kind = match (error.outcome_unknown(), error.retry_later()) {
        (_, true) => ErrorKind::Retry,
        (true, _) => ErrorKind::Timeout,
        (false, false) if error.nothing_ran() => ErrorKind::Environment,
        (false, false) => ErrorKind::Failed,
    };
    StepError::new(kind, error.to_string())
}

/// What the pod offers to plugins of the default network that declare a
/// capability.
fn offer(spec: &PodSpec) -> Result<Map<String, Value>, StepError> {
    let mappings = spec.ports.iter().map(|port| podwalk_cni::PortMapping {
        host_port: port.host_port,
        container_port: port.pod_port,
        protocol: match port.protocol {
            Protocol::Tcp => podwalk_cni::Protocol::Tcp,
            Protocol::Udp => podwalk_cni::Protocol::Udp,
            Protocol::Sctp => podwalk_cni::Protocol::Sctp,
        },
        host_ip: port.host_ip.parse().ok(),
    });
    let mappings: Vec<_> = mappings.collect();
    let mut offer = CapabilityArgs::new()
        .port_mappings(&mappings)
        .map_err(|e| invalid(&e))?;
    if let Some(bandwidth) =
        Bandwidth::from_annotations(&spec.annotations).map_err(|e| invalid(&e))?
    {
        offer = offer.bandwidth(bandwidth);
    }
    let dns = &spec.dns;
    if !(dns.servers.is_empty() && dns.searches.is_empty() && dns.options.is_empty()) {
        offer = offer.dns(&DnsOffer {
            servers: dns.servers.clone(),
            searches: dns.searches.clone(),
            options: dns.options.clone(),
        });
    }
    Ok(offer.into_map())
}

fn planned(
    spec: &PodSpec,
    network: &Conflist,
    interface: String,
    capability_arguments: Map<String, Value>,
    configuration_arguments: Map<String, Value>,
) -> PlannedAttachment {
    PlannedAttachment {
        network: network.name().to_owned(),
        interface,
        conflist: network.bytes().to_vec(),
        arguments: arguments(spec),
        capability_arguments: Value::Object(capability_arguments).to_string(),
        configuration_arguments: Value::Object(configuration_arguments).to_string(),
        late: false,
    }
}

/// `CNI_ARGS` as every Kubernetes runtime gives them; plugins such as Multus
/// and Calico find the pod by them. The sandbox's id is added when they are
/// used, since the plan is made without it.
fn arguments(spec: &PodSpec) -> Vec<(String, String)> {
    let pairs = [
        ("IgnoreUnknown", "1"),
        ("K8S_POD_NAMESPACE", &spec.namespace),
        ("K8S_POD_NAME", &spec.name),
        ("K8S_POD_UID", &spec.uid),
    ];
    let pairs = pairs.iter().filter(|(_, value)| !value.is_empty());
    pairs
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// A planned attachment as the CNI runtime takes it.
pub struct Pinned {
    /// The pinned configuration.
    pub conflist: Conflist,
    /// The pinned parameters.
    pub attachment: Attachment,
}

impl Pinned {
    /// Reads what the journal holds.
    ///
    /// # Errors
    /// When it does not read: it was written by us, so the journal is damaged.
    pub fn read(
        pod: PodId,
        planned: &PlannedAttachment,
        netns: Option<&Path>,
    ) -> Result<Self, StepError> {
        let origin = format!("journal of pod {pod}");
        let conflist = Conflist::parse(&planned.conflist, Path::new(&origin))
            .map_err(|error| invalid(&error))?;
        let mut attachment = Attachment::new(pod.to_string(), planned.interface.clone());
        attachment.netns = netns.map(ToOwned::to_owned);
        attachment.args = planned.arguments.clone();
        attachment
            .args
            .push(("K8S_POD_INFRA_CONTAINER_ID".to_owned(), pod.to_string()));
        let object = |text: &str| serde_json::from_str(text).map_err(|error| invalid(&error));
        attachment.capability_args = object(&planned.capability_arguments)?;
        attachment.config_args = object(&planned.configuration_arguments)?;
        Ok(Self {
            conflist,
            attachment,
        })
    }
}

#[cfg(test)]
mod tests;
