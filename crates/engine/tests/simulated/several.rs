//! Several pods at once. Drawn orders with crashes are in `proof::sampled`.

use podwalk_engine::step::Step;
use podwalk_testkit::sim::{Fault, Mishap, Site};

use super::*;

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
