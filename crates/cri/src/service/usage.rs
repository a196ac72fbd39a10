//! What pods use, as statistics and as metrics.

use std::io;

use podwalk_engine::engine::PodView;

use crate::node::{LinkUsage, MemoryUsage, Node, Usage};
use crate::proto::v1;
use crate::told::attributes;

/// A time of ours as CRI writes it.
pub(super) fn nanoseconds(wall_ns: u64) -> i64 {
    i64::try_from(wall_ns).unwrap_or(i64::MAX)
}

fn number(value: u64) -> Option<v1::UInt64Value> {
    Some(v1::UInt64Value { value })
}

/// A pod's statistics.
pub(super) async fn stats(node: &dyn Node, view: &PodView) -> io::Result<v1::PodSandboxStats> {
    let usage = node.usage(view).await?;
    let at = usage.at;
    let linux = v1::LinuxPodSandboxStats {
        cpu: usage.cpu.map(|cpu| v1::CpuUsage {
            timestamp: at,
            usage_core_nano_seconds: number(cpu.total),
            usage_nano_cores: None,
        }),
        memory: usage.memory.map(|memory| of_memory(at, memory)),
        network: usage.links.as_ref().and_then(|links| of_links(at, links)),
        process: usage.processes.map(|count| v1::ProcessUsage {
            timestamp: at,
            process_count: number(count),
        }),
        containers: Vec::new(),
    };
    Ok(v1::PodSandboxStats {
        attributes: Some(attributes(view)),
        linux: Some(linux),
        windows: None,
    })
}

fn of_memory(timestamp: i64, memory: MemoryUsage) -> v1::MemoryUsage {
    let available = memory
        .limit
        .map(|limit| limit.saturating_sub(memory.working_set));
    v1::MemoryUsage {
        timestamp,
        working_set_bytes: number(memory.working_set),
        available_bytes: available.and_then(number),
        usage_bytes: number(memory.usage),
        rss_bytes: number(memory.rss),
        page_faults: number(memory.page_faults),
        major_page_faults: number(memory.major_page_faults),
    }
}

fn of_links(timestamp: i64, links: &[LinkUsage]) -> Option<v1::NetworkUsage> {
    let mut links = links.iter().map(|link| v1::NetworkInterfaceUsage {
        name: link.name.clone(),
        rx_bytes: number(link.received.bytes),
        rx_errors: number(link.received.errors),
        tx_bytes: number(link.sent.bytes),
        tx_errors: number(link.sent.errors),
    });
    Some(v1::NetworkUsage {
        timestamp,
        default_interface: Some(links.next()?),
        interfaces: links.collect(),
    })
}

/// A metric, and where its value is. The names are cAdvisor's, which Kubernetes' dashboards know.
struct Described {
    name: &'static str,
    help: &'static str,
    kind: v1::MetricType,
    value: Value,
}

/// Of the pod, or of each of its links, by its name.
enum Value {
    Pod(fn(&Usage) -> Option<u64>),
    Link(fn(&LinkUsage) -> u64),
}

const METRICS: [Described; 13] = [
    Described {
        name: "container_cpu_usage_seconds_total",
        help: "CPU time used by the sandbox, whole seconds: CRI's values are integers",
        kind: v1::MetricType::Counter,
        value: Value::Pod(|usage| usage.cpu.map(|cpu| cpu.total / 1_000_000_000)),
    },
    Described {
        name: "container_memory_usage_bytes",
        help: "Memory charged to the sandbox",
        kind: v1::MetricType::Gauge,
        value: Value::Pod(|usage| usage.memory.map(|memory| memory.usage)),
    },
    Described {
        name: "container_memory_working_set_bytes",
        help: "Of it, what cannot be given back at once",
        kind: v1::MetricType::Gauge,
        value: Value::Pod(|usage| usage.memory.map(|memory| memory.working_set)),
    },
    Described {
        name: "container_memory_rss",
        help: "Of it, anonymous memory",
        kind: v1::MetricType::Gauge,
        value: Value::Pod(|usage| usage.memory.map(|memory| memory.rss)),
    },
    Described {
        name: "container_processes",
        help: "Processes of the sandbox",
        kind: v1::MetricType::Gauge,
        value: Value::Pod(|usage| usage.processes),
    },
    of_link(
        "container_network_receive_bytes_total",
        "Bytes received",
        |l| l.received.bytes,
    ),
    of_link(
        "container_network_receive_packets_total",
        "Packets received",
        |l| l.received.packets,
    ),
    of_link(
        "container_network_receive_errors_total",
        "Packets received wrongly",
        |l| l.received.errors,
    ),
    of_link(
        "container_network_receive_packets_dropped_total",
        "Packets dropped when received",
        |l| l.received.dropped,
    ),
    of_link(
        "container_network_transmit_bytes_total",
        "Bytes sent",
        |l| l.sent.bytes,
    ),
    of_link(
        "container_network_transmit_packets_total",
        "Packets sent",
        |l| l.sent.packets,
    ),
    of_link(
        "container_network_transmit_errors_total",
        "Packets sent wrongly",
        |l| l.sent.errors,
    ),
    of_link(
        "container_network_transmit_packets_dropped_total",
        "Packets dropped when sent",
        |l| l.sent.dropped,
    ),
];

const fn of_link(
    name: &'static str,
    help: &'static str,
    value: fn(&LinkUsage) -> u64,
) -> Described {
    Described {
        name,
        help,
        kind: v1::MetricType::Counter,
        value: Value::Link(value),
    }
}

/// All metrics there are.
pub(super) fn descriptors() -> Vec<v1::MetricDescriptor> {
    let described = METRICS.iter().map(|metric| v1::MetricDescriptor {
        name: metric.name.to_owned(),
        help: metric.help.to_owned(),
        label_keys: match metric.value {
            Value::Pod(_) => vec!["id".to_owned()],
            Value::Link(_) => vec!["id".to_owned(), "interface".to_owned()],
        },
    });
    described.collect()
}

/// A pod's metrics.
pub(super) async fn metrics(node: &dyn Node, view: &PodView) -> io::Result<v1::PodSandboxMetrics> {
    let usage = node.usage(view).await?;
    let id = view.pod.id.to_string();
    let mut metrics = Vec::new();
    for described in &METRICS {
        let metric = |labels: Vec<String>, value: u64| v1::Metric {
            name: described.name.to_owned(),
            timestamp: usage.at,
            metric_type: described.kind.into(),
            label_values: labels,
            value: number(value),
        };
        match described.value {
            Value::Pod(read) => {
                metrics.extend(read(&usage).map(|value| metric(vec![id.clone()], value)))
            }
            Value::Link(read) => {
                let links = usage.links.iter().flatten();
                metrics.extend(
                    links.map(|link| metric(vec![id.clone(), link.name.clone()], read(link))),
                );
            }
        }
    }
    Ok(v1::PodSandboxMetrics {
        pod_sandbox_id: id,
        metrics,
        container_metrics: Vec::new(),
    })
}
