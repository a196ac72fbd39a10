//! Values for tests: whole records of every kind, without an engine.

use std::collections::BTreeMap;

use podwalk_engine::clock::Stamp;
use podwalk_engine::error::{ErrorKind, StepError};
use podwalk_engine::id::{BootId, PodId};
use podwalk_engine::pod::{AttachmentStatus, Debt, Exit, Obituary, Pod, Slot, Status};
use podwalk_engine::record::*;
use podwalk_engine::spec::*;
use podwalk_engine::step::{NetworkMode, Step};

/// A pod's id, told apart by its number.
pub(crate) fn pod_id(number: u64) -> PodId {
    let mut bytes = [0xa0; 16];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    PodId(bytes)
}

/// A moment so many nanoseconds after the boot of all samples.
pub(crate) fn stamp(boottime_ns: u64) -> Stamp {
    Stamp {
        boot: BootId([0xb0; 16]),
        wall_ns: 1_700_000_000_000_000_000 + boottime_ns,
        boottime_ns,
    }
}

/// An entry; its stamp follows from its number.
pub(crate) fn entry(pod: u64, sequence: u64, record: Record) -> Entry {
    Entry {
        pod: pod_id(pod),
        sequence,
        stamp: stamp(sequence * 1_000),
        record,
    }
}

/// A small record that says which it is.
pub(crate) fn note(pod: u64, sequence: u64) -> Entry {
    sized(pod, sequence, 16)
}

/// A record with so many bytes of text in it.
pub(crate) fn sized(pod: u64, sequence: u64, bytes: usize) -> Entry {
    let letter = char::from(b'a' + (sequence % 26) as u8);
    let forgiven = Observation::Forgiven {
        step: Step::ConfigureCni,
        attachment: Some(u32::try_from(sequence).unwrap_or(u32::MAX)),
        reason: String::from(letter).repeat(bytes),
    };
    entry(pod, sequence, Record::Observed(forgiven))
}

/// A snapshot in the place of all records below `sequence`.
pub(crate) fn snapshot(pod: u64, sequence: u64) -> Entry {
    let folded = folded(pod, sequence + 1);
    entry(pod, sequence, Record::Snapshot(Box::new(folded)))
}

/// The obituary of a pod that had `records` records.
pub(crate) fn obituary(pod: u64, records: u64) -> Obituary {
    Obituary {
        pod: folded(pod, records),
    }
}

/// A folded pod with every field filled.
pub(crate) fn folded(pod: u64, next_sequence: u64) -> Pod {
    let slot = |status, climbs| Slot {
        status,
        since: Some(stamp(5)),
        took_ns: Some(7),
        climbs,
        intent: Some(Intent::Start(start_intent())),
        failure: Some(failure()),
    };
    Pod {
        id: pod_id(pod),
        next_sequence,
        created: stamp(1),
        last: stamp(next_sequence * 1_000),
        spec: spec().into(),
        sandbox_key: Some("/var/run/netns/podwalk-1".to_owned()),
        goal: Goal::Stop,
        cause: Cause::NotResumed,
        slots: [
            slot(Status::Done, 1),
            slot(Status::Maybe, 2),
            slot(Status::Never, 3),
            Slot::default(),
            Slot::default(),
            Slot::default(),
        ],
        namespace: Some(namespace()),
        plan: plan(),
        attachments: vec![attachment_status(), attachment_status()],
        sandbox: Some(start_output()),
        exited: Some(Exit {
            noticed: stamp(9),
            code: Some(137),
        }),
        restarting: true,
        outlived: Some(Goal::Remove),
        debts: vec![Debt {
            step: Step::ConfigureCni,
            attachment: Some(1),
            attempts: 3,
            first: stamp(10),
            last: stamp(11),
            error: failure(),
        }],
        released: Some(stamp(12)),
    }
}

/// A spec with every field filled.
pub(crate) fn spec() -> PodSpec {
    PodSpec {
        name: "web".to_owned(),
        namespace: "default".to_owned(),
        uid: "u-1".to_owned(),
        attempt: 2,
        network: NetworkMode::Pod(pod_id(99)),
        runtime_handler: "runc".to_owned(),
        hostname: "web-0".to_owned(),
        log_directory: "/var/log/pods/web".to_owned(),
        cgroup_parent: "/kubepods".to_owned(),
        dns: Dns {
            servers: vec!["192.0.2.53".to_owned()],
            searches: vec!["example.org".to_owned()],
            options: vec!["ndots:2".to_owned()],
        },
        ports: vec![PortMapping {
            protocol: Protocol::Sctp,
            pod_port: 80,
            host_port: 8080,
            host_ip: "2001:db8::1".to_owned(),
        }],
        labels: map("app", "web"),
        annotations: map("note", "ü"),
        sysctls: map("net.core.somaxconn", "1024"),
        security: security(),
        resources: resources(),
        overhead: Resources {
            cpu_quota: 25_000,
            memory_limit: 64 << 20,
            ..Resources::default()
        },
    }
}

fn map(key: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(key.to_owned(), value.to_owned())])
}

fn security() -> Security {
    let mapping = |host_id| IdMapping {
        container_id: 0,
        host_id,
        length: 65_536,
    };
    Security {
        pid: Sharing::Container,
        ipc: Sharing::Node,
        user_namespace: Some(UserMappings {
            uids: vec![mapping(131_072)],
            gids: vec![mapping(196_608)],
        }),
        privileged: true,
        readonly_rootfs: true,
        seccomp: Profile::Localhost("/etc/seccomp/web.json".to_owned()),
        apparmor: Profile::Unconfined,
        selinux: Some(SelinuxLabel {
            user: "system_u".to_owned(),
            role: "system_r".to_owned(),
            kind: "container_t".to_owned(),
            level: "s0:c1,c2".to_owned(),
        }),
        run_as_user: Some(1000),
        run_as_group: Some(1001),
        supplemental_groups: vec![7, 8],
        groups_policy: GroupsPolicy::Strict,
    }
}

fn resources() -> Resources {
    Resources {
        cpu_shares: 2,
        cpu_quota: -1,
        cpu_period: 100_000,
        cpuset_cpus: "0-3,8".to_owned(),
        cpuset_mems: "0".to_owned(),
        memory_limit: 1 << 30,
        memory_swap_limit: 2 << 30,
        oom_score_adj: Some(-998),
        hugepages: BTreeMap::from([("2MB".to_owned(), 4 << 20)]),
        pids_limit: 64,
        unified: map("memory.high", "max"),
    }
}

fn namespace() -> NetnsIdentity {
    NetnsIdentity {
        boot: BootId([0xb0; 16]),
        device: 4,
        inode: 4_026_532_000,
        cookie: 77,
    }
}

/// One attachment before the sandbox, and one after.
fn plan() -> Vec<PlannedAttachment> {
    vec![planned_attachment(false), planned_attachment(true)]
}

fn attachment_status() -> AttachmentStatus {
    AttachmentStatus {
        result: Some(attachment_result()),
        released: true,
    }
}

fn planned_attachment(late: bool) -> PlannedAttachment {
    PlannedAttachment {
        network: "bridge".to_owned(),
        interface: "eth0".to_owned(),
        conflist: b"{\"name\":\"bridge\"}".to_vec(),
        arguments: vec![("K8S_POD_NAME".to_owned(), "web".to_owned())],
        capability_arguments: "{}".to_owned(),
        configuration_arguments: "{\"labels\":[]}".to_owned(),
        late,
    }
}

fn attachment_result() -> AttachmentResult {
    AttachmentResult {
        result: "{\"cniVersion\":\"1.1.0\"}".to_owned(),
        link_local: Some(("fe80::1".to_owned(), 64)),
    }
}

fn start_intent() -> StartIntent {
    StartIntent {
        handler: "crun".to_owned(),
        consumes_network: true,
        network: Some(StartNetwork {
            sandbox_key: "/var/run/netns/podwalk-1".to_owned(),
            namespace: namespace(),
        }),
    }
}

fn start_output() -> StartOutput {
    StartOutput {
        process: ProcessIdentity {
            pid: 4242,
            start_time: 123_456,
        },
        shim_address: Some("unix:///run/shim.sock".to_owned()),
    }
}

fn failure() -> StepError {
    StepError::new(ErrorKind::Timeout, "bridge did not end").remedy("look at the plugin")
}

/// One record of every kind, each with the name of its golden file.
pub(crate) fn every_record() -> Vec<(&'static str, Record)> {
    let mut all = goals();
    all.extend(intents());
    all.extend(outputs());
    all.extend(ends());
    all.extend(observations());
    all.push(("snapshot", Record::Snapshot(Box::new(folded(1, 3)))));
    all
}

fn goals() -> Vec<(&'static str, Record)> {
    let goal = |goal, cause| Record::Goal { goal, cause };
    let step = Step::MountNetns;
    let error = failure();
    vec![
        ("goal-run-request", goal(Goal::Run, Cause::Request)),
        ("goal-stop-reboot", goal(Goal::Stop, Cause::Reboot)),
        (
            "goal-remove-start-failed",
            goal(Goal::Remove, Cause::StartFailed { step, error }),
        ),
        (
            "goal-remove-not-resumed",
            goal(Goal::Remove, Cause::NotResumed),
        ),
        (
            "goal-remove-exhausted",
            goal(Goal::Remove, Cause::AttemptsExhausted { step }),
        ),
    ]
}

fn intents() -> Vec<(&'static str, Record)> {
    let create = CreateIntent {
        spec: spec().into(),
        sandbox_key: Some("/var/run/netns/podwalk-1".to_owned()),
    };
    let mount = MountNetnsIntent {
        sandbox_key: "/var/run/netns/podwalk-1".to_owned(),
    };
    vec![
        ("intent-create", Intent::Create(Box::new(create))),
        ("intent-mount-netns", Intent::MountNetns(mount)),
        (
            "intent-ready-network",
            Intent::ReadyNetwork(ReadyNetworkIntent {}),
        ),
        (
            "intent-configure-cni",
            Intent::ConfigureCni(ConfigureCniIntent {}),
        ),
        ("intent-start", Intent::Start(start_intent())),
        (
            "intent-attach-late",
            Intent::AttachLate(AttachLateIntent {}),
        ),
    ]
    .into_iter()
    .map(|(name, intent)| (name, Record::Intent(intent)))
    .collect()
}

fn outputs() -> Vec<(&'static str, Record)> {
    let mounted = MountNetnsOutput {
        namespace: namespace(),
    };
    let ready = ReadyNetworkOutput { plan: plan() };
    let configured = ConfigureCniOutput {
        results: vec![attachment_result()],
    };
    let attached = AttachLateOutput {
        results: vec![attachment_result()],
    };
    vec![
        ("done-create", Output::Create(CreateOutput {})),
        ("done-mount-netns", Output::MountNetns(mounted)),
        ("done-ready-network", Output::ReadyNetwork(ready)),
        ("done-configure-cni", Output::ConfigureCni(configured)),
        ("done-start", Output::Start(start_output())),
        ("done-attach-late", Output::AttachLate(attached)),
    ]
    .into_iter()
    .map(|(name, output)| (name, Record::Done(output)))
    .collect()
}

fn ends() -> Vec<(&'static str, Record)> {
    let failed = |direction, attachment, outcome| Record::Failed {
        step: Step::ConfigureCni,
        direction,
        attachment,
        outcome,
        error: failure(),
    };
    let undone = |step, attachment| Record::Undone { step, attachment };
    vec![
        ("failed-up", failed(Direction::Up, None, Outcome::NotDone)),
        (
            "failed-down",
            failed(Direction::Down, Some(1), Outcome::Unknown),
        ),
        ("undone-step", undone(Step::Start, None)),
        ("undone-attachment", undone(Step::ConfigureCni, Some(1))),
    ]
}

fn observations() -> Vec<(&'static str, Record)> {
    let rebooted = Observation::Rebooted {
        from: BootId([0xb1; 16]),
        last_record_ns: 5,
        cni_may_be_back: true,
    };
    let forgiven = Observation::Forgiven {
        step: Step::ConfigureCni,
        attachment: None,
        reason: "the plugin is gone for good".to_owned(),
    };
    let outlived = Observation::Outlived { goal: Goal::Remove };
    vec![
        ("observed-exited", Observation::Exited { code: Some(1) }),
        ("observed-restart", Observation::Restart),
        ("observed-rebooted", rebooted),
        ("observed-outlived", outlived),
        ("observed-forgiven", forgiven),
    ]
    .into_iter()
    .map(|(name, observation)| (name, Record::Observed(observation)))
    .collect()
}
