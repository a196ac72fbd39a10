//! What a pod uses: its sandbox's cgroup, and the links of its network namespace.

use std::io;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use podwalk_cri::node::{CpuUsage, LinkUsage, MemoryUsage, Traffic, Usage};
use podwalk_engine::engine::PodView;
use podwalk_engine::pod::Status;
use podwalk_engine::step::Step;
use podwalk_netns::LinkCounters;
use podwalk_oci::{CgroupUsage, CgroupsPath};

use crate::server::Served;

/// Reads it now.
pub(super) async fn of(served: &Served, view: &PodView) -> io::Result<Usage> {
    let pod = &view.pod;
    let cgroup = match pod.sandbox {
        Some(_) => Some(served.handlers.cgroup(pod).map_err(io::Error::other)?),
        None => None,
    };
    let pinned = pod.status(Step::MountNetns) == Status::Done;
    let key = pod.sandbox_key.as_ref().filter(|_| pinned);
    let key = key.map(PathBuf::from);
    let read = tokio::task::spawn_blocking(move || read(cgroup.as_ref(), key));
    read.await.map_err(io::Error::other)?
}

fn read(cgroup: Option<&CgroupsPath>, key: Option<PathBuf>) -> io::Result<Usage> {
    let mut usage = Usage {
        at: now(),
        ..Usage::default()
    };
    if let Some(cgroup) = cgroup {
        take(&mut usage, &cgroup.usage()?);
    }
    if let Some(key) = key {
        let links = podwalk_netns::counters(&key).map_err(io::Error::other)?;
        usage.links = Some(links.into_iter().map(link).collect());
    }
    Ok(usage)
}

fn take(usage: &mut Usage, read: &CgroupUsage) {
    usage.cpu = read.cpu_ns.map(|total| CpuUsage { total });
    usage.memory = read.memory.as_ref().map(|memory| MemoryUsage {
        usage: memory.usage,
        working_set: memory.working_set,
        rss: memory.rss,
        limit: memory.limit,
        page_faults: memory.page_faults,
        major_page_faults: memory.major_page_faults,
    });
    usage.processes = read.pids;
}

fn link(counters: LinkCounters) -> LinkUsage {
    LinkUsage {
        name: counters.name,
        received: Traffic {
            bytes: counters.rx_bytes,
            packets: counters.rx_packets,
            errors: counters.rx_errors,
            dropped: counters.rx_dropped,
        },
        sent: Traffic {
            bytes: counters.tx_bytes,
            packets: counters.tx_packets,
            errors: counters.tx_errors,
            dropped: counters.tx_dropped,
        },
    }
}

/// Nanoseconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_nanos()).unwrap_or(i64::MAX)
}
