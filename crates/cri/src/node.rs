//! What the daemon lends: everything that the services must know of the machine and the engine does
//! not.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use podwalk_engine::PodId;
use podwalk_engine::engine::PodView;
use podwalk_engine::ports::BoxFuture;

/// A node, as the services see it. Nothing here may wait for a walk; what waits for a plugin has a
/// bound of its own.
pub trait Node: Send + Sync + 'static {
    /// An id that no pod has had.
    ///
    /// # Errors
    /// When the kernel gives no randomness.
    fn fresh_id(&self) -> io::Result<PodId>;

    /// The runtime's own version.
    fn version(&self) -> String;

    /// A pod as clients are to see it: one whose handler is not configured any more is not ready.
    fn seen(&self, view: PodView) -> PodView;

    /// A pod's addresses, the default network's first; none in the host's network.
    fn addresses(&self, view: &PodView) -> Vec<IpAddr>;

    /// The object of `podwalk inspect` (design, section 6).
    fn inspect(&self, view: &PodView) -> serde_json::Value;

    /// The runtime handlers, the default first and also under the empty name.
    fn handlers(&self) -> Vec<Handler>;

    /// Whether a handler's program is there now. One that is not is named to nobody who chooses, and
    /// fails when it is used.
    fn handler_is_present(&self, name: &str) -> bool;

    /// Who keeps the books of a pod's cgroup.
    fn cgroup_driver(&self) -> CgroupDriver;

    /// Whether pods would get their network now.
    fn network(&self) -> BoxFuture<'_, Condition>;

    /// What a pod uses now. A pod without a sandbox uses nothing.
    ///
    /// # Errors
    /// When the kernel does not say.
    fn usage<'a>(&'a self, view: &'a PodView) -> BoxFuture<'a, io::Result<Usage>>;

    /// Where images are to lie one day, for `ImageFsInfo`: the file system of the state directory.
    fn image_directory(&self) -> PathBuf;

    /// The node's range of pod addresses, as kubelet tells it. Podwalk's networks are configured by
    /// conflists, so that it is only shown. Empty where kubelet knows none.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    fn set_pod_cidr(&self, cidr: &str) -> Result<(), String>;
}

/// A runtime handler and what it can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handler {
    /// Its name; empty for the default.
    pub name: String,
    /// Pods may have a user namespace of their own.
    pub user_namespaces: bool,
}

/// How a parent cgroup is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupDriver {
    /// By its path.
    Cgroupfs,
    /// By its slice.
    Systemd,
}

/// A condition of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Whether it holds.
    pub holds: bool,
    /// Why not, in one word for programs.
    pub reason: String,
    /// Why not, in a sentence for people.
    pub message: String,
}

/// What a pod uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// When it was read: nanoseconds since 1970.
    pub at: i64,
    /// The sandbox's cgroup; none where no controller keeps its books.
    pub cpu: Option<CpuUsage>,
    /// The memory of that cgroup.
    pub memory: Option<MemoryUsage>,
    /// The number of its processes.
    pub processes: Option<u64>,
    /// The links in the pod's network namespace, `lo` left out, the default one first. None in the
    /// host's network.
    pub links: Option<Vec<LinkUsage>>,
}

/// CPU time used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuUsage {
    /// In all, nanoseconds.
    pub total: u64,
}

/// Memory used, bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryUsage {
    /// All that is charged.
    pub usage: u64,
    /// Of it, what cannot be given back at once: without inactive file pages.
    pub working_set: u64,
    /// Anonymous memory.
    pub rss: u64,
    /// The limit, if there is one.
    pub limit: Option<u64>,
    /// Minor and major page faults.
    pub page_faults: u64,
    /// Major page faults.
    pub major_page_faults: u64,
}

/// What went through a link.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkUsage {
    /// Its name.
    pub name: String,
    /// Received.
    pub received: Traffic,
    /// Sent.
    pub sent: Traffic,
}

/// One direction of a link.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
    /// Packets that went wrong.
    pub errors: u64,
    /// Packets that were dropped.
    pub dropped: u64,
}
