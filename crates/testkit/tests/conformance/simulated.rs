//! The rules over the simulated machine's own rungs.

use std::collections::BTreeSet;

use futures_executor::block_on;
use futures_util::FutureExt;
use podwalk_engine::ports::{ConfigureCni, Create, MountNetns, ReadyNetwork, Rung, Start};
use podwalk_engine::rungs::Rungs;
use podwalk_engine::step::Step;
use podwalk_testkit::conformance::{self, Broken, Case, Intended, Walk};
use podwalk_testkit::sim::{Fault, Mishap, Node, Setup, Site, pod_id, pod_spec};

fn things(node: &Node) -> BTreeSet<String> {
    let things = node.host.things();
    things.iter().map(|thing| format!("{thing:?}")).collect()
}

/// The case of a step, with a part for each number of its changes; a part is made by an apply that
/// hangs there, is given up and killed.
fn check<S: Intended>(
    node: &Node,
    rung: &dyn Rung<Step = S>,
    walk: &Walk,
    changes: usize,
) -> Result<(), Broken> {
    let below = walk.pod();
    let mut case =
        Case::new(rung, below.clone(), || things(node)).later(|| node.host.let_strays_finish());
    let intent = S::intent_of(rung, &below);
    for after in 1..changes {
        let (below, intent) = (below.clone(), intent.clone());
        case = case.part(format!("{after} changes"), move || {
            node.faults
                .add(Fault::once(S::STEP, Site::Apply, Mishap::Hang { after }));
            let mut apply = rung.apply(&below, &intent);
            assert!(apply.as_mut().now_or_never().is_none(), "it hangs");
            Box::pin(std::future::ready(()))
        });
    }
    if matches!(S::STEP, Step::ReadyNetwork) {
        // Its undo is that of the namespace.
        case = Case::new(rung, below, BTreeSet::new).leaves_nothing();
    }
    block_on(conformance::rung(&case)).map(drop)
}

async fn up(rungs: &Rungs, to: Step) -> Walk {
    let mut walk = Walk::new(pod_id(1), pod_spec("web"), "/run/netns").unwrap();
    if to > Step::Create {
        walk.climb(&*rungs.create).await.unwrap();
    }
    if to > Step::MountNetns {
        walk.climb(&*rungs.mount_netns).await.unwrap();
    }
    if to > Step::ReadyNetwork {
        walk.climb(&*rungs.ready_network).await.unwrap();
    }
    if to > Step::ConfigureCni {
        walk.climb(&*rungs.configure_cni).await.unwrap();
    }
    walk
}

fn node(attachments: u32, consumes_network: bool) -> (Node, Rungs) {
    let node = Node::new(Setup {
        attachments,
        consumes_network,
        ..Setup::default()
    });
    let rungs = node.ground().rungs();
    (node, rungs)
}

#[test]
fn the_simulated_rungs_keep_every_rule() {
    let below = |step| {
        let (node, rungs) = node(2, false);
        let walk = block_on(up(&rungs, step));
        (node, rungs, walk)
    };
    let (node, rungs, walk) = below(Step::Create);
    check::<Create>(&node, &*rungs.create, &walk, 1).unwrap();
    let (node, rungs, walk) = below(Step::MountNetns);
    check::<MountNetns>(&node, &*rungs.mount_netns, &walk, 1).unwrap();
    let (node, rungs, walk) = below(Step::ReadyNetwork);
    check::<ReadyNetwork>(&node, &*rungs.ready_network, &walk, 1).unwrap();
    let (node, rungs, walk) = below(Step::ConfigureCni);
    check::<ConfigureCni>(&node, &*rungs.configure_cni, &walk, 2).unwrap();
    let (node, rungs, walk) = below(Step::Start);
    check::<Start>(&node, &*rungs.start, &walk, 2).unwrap();
}

#[test]
fn a_start_that_uses_the_network_up_is_driven_once() {
    let (node, rungs) = node(1, true);
    let walk = block_on(up(&rungs, Step::Start));
    check::<Start>(&node, &*rungs.start, &walk, 1).unwrap();
    let in_a_used_network = |wrong: &String| wrong.contains("used network");
    assert!(
        !node.host.wrong().iter().any(in_a_used_network),
        "{:?}",
        node.host.wrong()
    );
}
