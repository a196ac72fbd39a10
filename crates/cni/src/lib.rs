//! The runtime side of CNI 1.1: networks read from configuration, and containers attached to
//! them by running plugins.
//!
//! A *network* is a configuration list: a name and a chain of plugins. A *plugin* is a program; it
//! gets a verb and its parameters in the environment, its configuration as JSON on stdin, and answers
//! with JSON on stdout. An *attachment* is one interface of one container in one network.
//!
//! 1. [`ConfigDir::load`] reads `/etc/cni/net.d`: networks in order, the first is the default one,
//!    and what is broken with the reason. [`ConfigDir::watch`] tells when that changes.
//! 2. The caller makes the network namespace, pins it on a file, and names its interfaces by
//!    [`interface_names`]. It describes each [`Attachment`]: container, namespace file, interface,
//!    arguments, and what the pod offers to plugins that declare a capability
//!    ([`CapabilityArgs`]). Extra networks come from an annotation by [`parse_networks`].
//! 3. Before anything runs, the caller records the attachment and [`Conflist::bytes`]. They are plain
//!    data: a process that comes after a crash detaches with them alone.
//! 4. [`Runtime::add`] calls the plugins in order, each given the result of the one before.
//!    The caller records [`AddResult::bytes`], and reads addresses from
//!    [`ParsedResult::for_sandbox`].
//! 5. [`Runtime::del`] calls them in reverse with the recorded list and result. It is owed for every
//!    ADD that was begun, also one that failed, and is repeated until it succeeds.
//! 6. [`Runtime::check`], [`Runtime::status`], [`Runtime::version`] and [`Runtime::gc`] are the
//!    rest of the verbs; those that a network can do without say whether they [`Ran`].
//!
//! Who does what: this crate runs plugins, and knows neither journals nor namespaces from within. It
//! never enters a namespace; plugins run in the caller's, which must be the host's. It deletes
//! nothing itself. The owner of the processes takes hold of them by [`Spawn`], because a plugin
//! outlives a caller that crashes.
//!
//! Invariants:
//!
//! - A plugin never outlives its call: at the end, at the deadline, at too much output and when the
//!   future is dropped, its whole process group is killed. What it leaves behind with stdout open
//!   holds nobody up.
//! - ADD never runs twice for a container and interface without a DEL between, not even for a
//!   plugin that says 'try again later'. After a restart the caller tells what is attached by
//!   [`Runtime::adopt`].
//! - Operations of one container take turns; GC runs alone in its network; STATUS waits for no one.
//! - What ADD ran with is what DEL runs with: the list is normalised once, and a pinned list reads
//!   back as the same list with the same bytes.
//! - No plugin is told of a namespace that is none: ADD and CHECK refuse it, DEL passes an empty one.
//! - An error names the verb, network, plugin, binary, code, message, last words and remedy;
//!   [`CniError::outcome_unknown`] tells 'not done' from 'perhaps done'. The first cause stays first.
//! - Whatever a plugin prints or a file holds, memory is bounded and nothing panics.

#![forbid(unsafe_code)]

mod attachment;
mod capability;
mod cidr;
mod config_dir;
mod conflist;
mod error;
mod invocation;
mod ledger;
mod locate;
mod names;
mod npwg;
mod points;
mod quantity;
mod result;
mod runtime;
mod version;

pub use attachment::{Attachment, AttachmentError, AttachmentId};
pub use capability::{
    Bandwidth, CapabilityArgs, CapabilityError, DnsOffer, EGRESS_ANNOTATION, INGRESS_ANNOTATION,
    IpRange, PortMapping, Protocol,
};
pub use cidr::{Cidr, CidrError};
pub use config_dir::{ConfigDir, ConfigWatch, Loaded, WatchError};
pub use conflist::{ConfigError, Conflist, MAX_CONFIG_BYTES, Plugin, PluginFault};
pub use error::{CniError, Failure, Verb};
pub use names::{
    DEFAULT_INTERFACE, InterfaceError, interface_names, is_identifier, is_interface_name,
};
pub use npwg::{NETWORKS_ANNOTATION, NetworkRequest, NetworksError, parse_networks};
pub use podwalk_process::{Spawn, Unlisted};
pub use quantity::{QuantityError, parse_quantity};
pub use result::{
    Dns, Interface, IpConfig, ParsedResult, ResultError, Route, SandboxView, rewrite_result,
};
pub use runtime::{AddResult, GcError, PluginVersions, Ran, Retry, Runtime, RuntimeOptions, Stale};
pub use version::{SpecVersion, UnknownVersion};
