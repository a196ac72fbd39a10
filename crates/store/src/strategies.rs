//! Arbitrary records, every field and variant of them, for property tests.
//!
//! The large ones are boxed: a value tree of all fields of a pod would not fit
//! on a test's stack.

use std::collections::BTreeMap;

use podwalk_engine::clock::Stamp;
use podwalk_engine::error::{ErrorKind, StepError};
use podwalk_engine::id::{BootId, PodId};
use podwalk_engine::pod::{AttachmentStatus, Debt, Exit, Obituary, Pod, Slot, Status};
use podwalk_engine::record::*;
use podwalk_engine::step::Step;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

mod specs;

pub(crate) use specs::spec;

fn text() -> impl Strategy<Value = String> + Clone {
    vec(any::<char>(), 0..12).prop_map(String::from_iter)
}

fn texts() -> impl Strategy<Value = Vec<String>> + Clone {
    vec(text(), 0..3)
}

fn text_map() -> impl Strategy<Value = BTreeMap<String, String>> + Clone {
    btree_map(text(), text(), 0..4)
}

fn pod_id() -> impl Strategy<Value = PodId> + Clone {
    any::<[u8; 16]>().prop_map(PodId)
}

fn boot_id() -> impl Strategy<Value = BootId> + Clone {
    any::<[u8; 16]>().prop_map(BootId)
}

fn stamp() -> impl Strategy<Value = Stamp> + Clone {
    let fields = (boot_id(), any::<u64>(), any::<u64>());
    fields.prop_map(|(boot, wall_ns, boottime_ns)| Stamp {
        boot,
        wall_ns,
        boottime_ns,
    })
}

fn step() -> impl Strategy<Value = Step> + Clone {
    proptest::sample::select(Step::ALL.to_vec())
}

fn goal() -> impl Strategy<Value = Goal> + Clone {
    proptest::sample::select(vec![Goal::Run, Goal::Stop, Goal::Remove])
}

fn step_error() -> BoxedStrategy<StepError> {
    let kind = proptest::sample::select(vec![
        ErrorKind::Invalid,
        ErrorKind::Conflict,
        ErrorKind::Retry,
        ErrorKind::Timeout,
        ErrorKind::Environment,
        ErrorKind::Failed,
    ]);
    (kind, text(), text())
        .prop_map(|(kind, message, remedy)| StepError {
            kind,
            message,
            remedy,
        })
        .boxed()
}

fn cause() -> BoxedStrategy<Cause> {
    prop_oneof![
        Just(Cause::Request),
        (step(), step_error()).prop_map(|(step, error)| Cause::StartFailed { step, error }),
        Just(Cause::NotResumed),
        step().prop_map(|step| Cause::AttemptsExhausted { step }),
        Just(Cause::Reboot),
    ]
    .boxed()
}

fn namespace() -> impl Strategy<Value = NetnsIdentity> + Clone {
    let fields = (boot_id(), any::<u64>(), any::<u64>(), any::<u64>());
    fields.prop_map(|(boot, device, inode, cookie)| NetnsIdentity {
        boot,
        device,
        inode,
        cookie,
    })
}

fn attachment() -> BoxedStrategy<PlannedAttachment> {
    let arguments = (vec((text(), text()), 0..3), text(), text(), any::<bool>());
    let fields = (text(), text(), vec(any::<u8>(), 0..40), arguments);
    fields
        .prop_map(
            |(network, interface, conflist, arguments)| PlannedAttachment {
                network,
                interface,
                conflist,
                arguments: arguments.0,
                capability_arguments: arguments.1,
                configuration_arguments: arguments.2,
                late: arguments.3,
            },
        )
        .boxed()
}

fn attachment_result() -> impl Strategy<Value = AttachmentResult> + Clone {
    let link_local = option::of((text(), any::<u8>()));
    (text(), link_local).prop_map(|(result, link_local)| AttachmentResult { result, link_local })
}

fn start_intent() -> BoxedStrategy<StartIntent> {
    let network = (text(), namespace()).prop_map(|(sandbox_key, namespace)| StartNetwork {
        sandbox_key,
        namespace,
    });
    (text(), any::<bool>(), option::of(network))
        .prop_map(|(handler, consumes_network, network)| StartIntent {
            handler,
            consumes_network,
            network,
        })
        .boxed()
}

fn start_output() -> impl Strategy<Value = StartOutput> + Clone {
    let fields = (any::<u32>(), any::<u64>(), option::of(text()));
    fields.prop_map(|(pid, start_time, shim_address)| StartOutput {
        process: ProcessIdentity { pid, start_time },
        shim_address,
    })
}

fn intent() -> BoxedStrategy<Intent> {
    let create = (spec(), option::of(text())).prop_map(|(spec, sandbox_key)| {
        Intent::Create(Box::new(CreateIntent {
            spec: spec.into(),
            sandbox_key,
        }))
    });
    prop_oneof![
        create,
        text().prop_map(|sandbox_key| Intent::MountNetns(MountNetnsIntent { sandbox_key })),
        Just(Intent::ReadyNetwork(ReadyNetworkIntent {})),
        Just(Intent::ConfigureCni(ConfigureCniIntent {})),
        start_intent().prop_map(Intent::Start),
        Just(Intent::AttachLate(AttachLateIntent {})),
    ]
    .boxed()
}

fn output() -> BoxedStrategy<Output> {
    let results = vec(attachment_result(), 0..3);
    prop_oneof![
        Just(Output::Create(CreateOutput {})),
        namespace().prop_map(|namespace| Output::MountNetns(MountNetnsOutput { namespace })),
        vec(attachment(), 0..3).prop_map(|plan| Output::ReadyNetwork(ReadyNetworkOutput { plan })),
        results
            .clone()
            .prop_map(|results| Output::ConfigureCni(ConfigureCniOutput { results })),
        start_output().prop_map(Output::Start),
        results.prop_map(|results| Output::AttachLate(AttachLateOutput { results })),
    ]
    .boxed()
}

fn observation() -> BoxedStrategy<Observation> {
    let rebooted = (boot_id(), any::<u64>(), any::<bool>());
    let forgiven = (step(), option::of(any::<u32>()), text());
    prop_oneof![
        option::of(any::<i32>()).prop_map(|code| Observation::Exited { code }),
        Just(Observation::Restart),
        rebooted.prop_map(
            |(from, last_record_ns, cni_may_be_back)| Observation::Rebooted {
                from,
                last_record_ns,
                cni_may_be_back,
            }
        ),
        goal().prop_map(|goal| Observation::Outlived { goal }),
        forgiven.prop_map(|(step, attachment, reason)| Observation::Forgiven {
            step,
            attachment,
            reason,
        }),
    ]
    .boxed()
}

fn failed() -> BoxedStrategy<Record> {
    let direction = proptest::sample::select(vec![Direction::Up, Direction::Down]);
    let outcome = proptest::sample::select(vec![Outcome::NotDone, Outcome::Unknown]);
    let fields = (
        step(),
        direction,
        option::of(any::<u32>()),
        outcome,
        step_error(),
    );
    fields
        .prop_map(
            |(step, direction, attachment, outcome, error)| Record::Failed {
                step,
                direction,
                attachment,
                outcome,
                error,
            },
        )
        .boxed()
}

/// Any record.
pub(crate) fn record() -> BoxedStrategy<Record> {
    let undone = (step(), option::of(any::<u32>()));
    prop_oneof![
        (goal(), cause()).prop_map(|(goal, cause)| Record::Goal { goal, cause }),
        intent().prop_map(Record::Intent),
        output().prop_map(Record::Done),
        failed(),
        undone.prop_map(|(step, attachment)| Record::Undone { step, attachment }),
        observation().prop_map(Record::Observed),
        pod().prop_map(|pod| Record::Snapshot(Box::new(pod))),
    ]
    .boxed()
}

/// Any record in any envelope.
pub(crate) fn entry() -> BoxedStrategy<Entry> {
    let fields = (pod_id(), any::<u64>(), stamp(), record());
    fields
        .prop_map(|(pod, sequence, stamp, record)| Entry {
            pod,
            sequence,
            stamp,
            record,
        })
        .boxed()
}

/// Any obituary.
pub(crate) fn obituary() -> BoxedStrategy<Obituary> {
    pod().prop_map(|pod| Obituary { pod }).boxed()
}

fn slot() -> BoxedStrategy<Slot> {
    let status = proptest::sample::select(vec![Status::Never, Status::Maybe, Status::Done]);
    let times = (option::of(stamp()), option::of(any::<u64>()), any::<u32>());
    (
        status,
        times,
        option::of(intent()),
        option::of(step_error()),
    )
        .prop_map(|(status, (since, took_ns, climbs), intent, failure)| Slot {
            status,
            since,
            took_ns,
            climbs,
            intent,
            failure,
        })
        .boxed()
}

fn slots() -> BoxedStrategy<[Slot; 6]> {
    (slot(), slot(), slot())
        .prop_map(|(first, second, last)| {
            let empty = Slot::default;
            [first, second, empty(), empty(), empty(), last]
        })
        .boxed()
}

fn debt() -> BoxedStrategy<Debt> {
    let times = (any::<u32>(), stamp(), stamp());
    (step(), option::of(any::<u32>()), times, step_error())
        .prop_map(|(step, attachment, (attempts, first, last), error)| Debt {
            step,
            attachment,
            attempts,
            first,
            last,
            error,
        })
        .boxed()
}

fn attachment_status() -> impl Strategy<Value = AttachmentStatus> + Clone {
    let fields = (option::of(attachment_result()), any::<bool>());
    fields.prop_map(|(result, released)| AttachmentStatus { result, released })
}

fn exit() -> impl Strategy<Value = Exit> + Clone {
    let fields = (stamp(), option::of(any::<i32>()));
    fields.prop_map(|(noticed, code)| Exit { noticed, code })
}

/// Any folded pod, whether or not its fields make sense together.
pub(crate) fn pod() -> BoxedStrategy<Pod> {
    let head = (pod_id(), any::<u64>(), stamp(), stamp(), spec());
    let will = (option::of(text()), goal(), cause(), slots());
    let network = (
        option::of(namespace()),
        vec(attachment(), 0..3),
        vec(attachment_status(), 0..3),
    );
    let sandbox = (
        option::of(start_output()),
        option::of(exit()),
        any::<bool>(),
    );
    let owed = (option::of(goal()), vec(debt(), 0..3), option::of(stamp()));
    (head, will, network, sandbox, owed)
        .prop_map(|(head, will, network, sandbox, owed)| Pod {
            id: head.0,
            next_sequence: head.1,
            created: head.2,
            last: head.3,
            spec: head.4.into(),
            sandbox_key: will.0,
            goal: will.1,
            cause: will.2,
            slots: will.3,
            namespace: network.0,
            plan: network.1,
            attachments: network.2,
            sandbox: sandbox.0,
            exited: sandbox.1,
            restarting: sandbox.2,
            outlived: owed.0,
            debts: owed.1,
            released: owed.2,
        })
        .boxed()
}
