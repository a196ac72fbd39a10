//! Several pods at once, in drawn orders, killed at drawn points.

use podwalk_engine::decide::Policy;
use podwalk_engine::step::{NetworkMode, Step};
use podwalk_testkit::sim::{Crash, Ended, Fault, Mishap, Site};

use super::*;

const PODS: u32 = 4;
/// The one that shares the network of the first.
const GUEST: u32 = 3;

/// Every pod up, and every other one down again, all at the same time.
fn churn(node: &Node, engine: &Engine) -> bool {
    let calls: Vec<_> = (1..=PODS)
        .map(|number| {
            let engine = engine.clone();
            node.ask(async move {
                let id = pod_id(number);
                let mut spec = pod_spec(&format!("web{number}"));
                if number == GUEST {
                    // It waits for its owner, which another call starts.
                    let _ = engine.start(pod_id(1), pod_spec("web1")).await;
                    spec.network = NetworkMode::Pod(pod_id(1));
                }
                let _ = engine.start(id, spec).await;
                if number % 2 == 0 {
                    let _ = engine.stop(id).await;
                }
                if number % 4 == 0 {
                    let _ = engine.remove(id).await;
                }
            })
        })
        .collect();
    calls
        .iter()
        .all(|call| matches!(node.wait_for(call), Ended::Answered(())))
}

fn drawn(seed: u64, points: u64) -> (u64, Crash) {
    let draw = seed.wrapping_mul(6_364_136_223_846_793_005).rotate_left(17);
    let crash = match draw % 4 {
        0 => Crash::Kill { strays: false },
        1 => Crash::Kill { strays: true },
        2 => Crash::Power {
            kept: usize::try_from(draw >> 40).unwrap() % 8,
            disk_lost: true,
        },
        _ => Crash::Power {
            kept: 0,
            disk_lost: draw & 64 == 0,
        },
    };
    (1 + (draw >> 8) % points, crash)
}

/// Something that goes wrong in the first life.
fn mishap(seed: u64) -> Fault {
    let draw = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let sites = [Site::Apply, Site::Undo, Site::Quiet];
    let mishaps = [
        Mishap::Fail { after: 0 },
        Mishap::Fail { after: 1 },
        Mishap::LoseAnswer,
        Mishap::Hang { after: 1 },
    ];
    let pick = |shift: u32, of: usize| usize::try_from(draw >> shift).unwrap_or(0) % of;
    let ladder = NetworkMode::Cni.ladder();
    Fault::once(
        ladder[pick(32, ladder.len())],
        sites[pick(40, sites.len())],
        mishaps[pick(48, mishaps.len())],
    )
}

#[test]
fn several_pods_in_drawn_orders_with_two_crashes_leak_nothing() {
    let mut crashed = [0, 0];
    for seed in 1..=600 {
        let node = Node::new(Setup {
            seed,
            attachments: 1 + (seed % 2) as u32,
            consumes_network: seed % 3 == 0,
            restless: seed % 2 == 0,
            recovery_at_once: 2,
            policy: Policy {
                resume: seed % 5 != 0,
                ..Policy::default()
            },
        });
        node.faults.add(mishap(seed));
        let (first, crash) = drawn(seed, 330);
        node.arm(Some(first));
        if let Ended::Answered((engine, _)) = node.boot() {
            crashed[0] += u32::from(!churn(&node, &engine));
        }
        node.crash(crash);
        node.faults.mend();
        let (second, crash) = drawn(seed + 1_000_000, 120);
        node.arm(Some(second));
        crashed[1] += u32::from(matches!(node.boot(), Ended::Crashed));
        node.crash(crash);

        let (engine, _) = node.boot().answer();
        node.host.let_strays_finish();
        let complaints = oracle::complaints(&node, &engine);
        assert!(complaints.is_empty(), "seed {seed}: {complaints:#?}");
        for view in engine.list() {
            remove(&node, &engine, view.pod.id).unwrap();
        }
        nothing_left(&node, &engine);
    }
    println!("two crashes of several pods: 600 runs, {crashed:?} of them crashed");
    assert!(crashed.iter().all(|times| *times > 100), "{crashed:?}");
}

/// Rule 12: pods do not wait for each other.
#[test]
fn a_pod_that_hangs_holds_no_other_up() {
    let (node, engine) = running(Setup::default());
    let hang = Fault::for_ever(Step::ConfigureCni, Site::Apply, Mishap::Hang { after: 1 });
    node.faults.add(hang.of(pod_id(1)));
    let hanging = ask_start(&node, &engine, pod_id(1), pod_spec("web1"));
    let others: Vec<_> = (2..=20)
        .map(|number| {
            ask_start(
                &node,
                &engine,
                pod_id(number),
                pod_spec(&format!("web{number}")),
            )
        })
        .collect();
    node.settle(); // no time passes
    for other in &others {
        assert_eq!(
            other.take().unwrap().map(|started| started.joined),
            Ok(false)
        );
    }
    assert!(!hanging.is_answered());
}
