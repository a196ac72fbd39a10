//! Each rule of a rung, and a rung that breaks it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_executor::block_on;
use podwalk_engine::pod::Pod;
use podwalk_engine::ports::MountNetns;
use podwalk_engine::record::{CreateOutput, Output, Record};
use podwalk_testkit::conformance::{self, Broken, Case, Report, Rule, Walk};
use podwalk_testkit::sim::{pod_id, pod_spec};

use crate::shelf::{Shelf, THINGS, Wrong};

fn below() -> Pod {
    let mut walk = Walk::new(pod_id(1), pod_spec("web"), "/run/netns").unwrap();
    walk.record(Record::Done(Output::Create(CreateOutput {})))
        .unwrap();
    walk.pod()
}

fn case(shelf: &Shelf) -> Case<'_, MountNetns> {
    let case = Case::new(shelf, below(), || shelf.look()).later(|| shelf.let_go_on());
    THINGS.into_iter().fold(case, |case, thing| {
        case.part(thing, move || Box::pin(async move { shelf.put(thing) }))
    })
}

fn drive(wrong: Wrong) -> Result<Report, Broken> {
    let shelf = Shelf::new(wrong);
    block_on(conformance::rung(&case(&shelf)))
}

#[test]
fn a_rung_that_keeps_every_rule_passes_and_leaves_nothing() {
    let shelf = Shelf::new(Wrong::Nothing);
    let report = block_on(conformance::rung(&case(&shelf))).unwrap();
    assert!(shelf.look().is_empty(), "{:?}", shelf.look());
    // Begun by its first poll, then a change and a poll each; the fourth would be the last.
    assert_eq!(report.interruptions, 4, "{report}");
    assert!(report.probes > 8 && report.undos > 10, "{report}");
}

const BROKEN: [(Wrong, Rule); 17] = [
    (Wrong::NoTime, Rule::HasTime),
    (Wrong::LookTakesOneThing, Rule::LookTouchesNothing),
    (Wrong::LookSeesAllOfNothing, Rule::NothingIsAbsent),
    (Wrong::LookSeesPartOfNothing, Rule::NothingIsAbsent),
    (Wrong::LookSeesOnlyAPartOfAll, Rule::WholeIsComplete),
    (Wrong::LookReadsAnother, Rule::WholeIsComplete),
    (Wrong::LookNeverSees, Rule::WholeIsComplete),
    (Wrong::LookTakesAPartForAll, Rule::PartIsNotWhole),
    (Wrong::ApplyWorksOnce, Rule::ApplyWorks),
    (Wrong::QuietFails, Rule::QuietWorks),
    (Wrong::QuietKillsNothing, Rule::QuietEndsAll),
    (Wrong::UndoOfNothingFails, Rule::UndoOfNothing),
    (Wrong::UndoOfNothingPutsThere, Rule::UndoOfNothing),
    (Wrong::UndoFails, Rule::UndoWorks),
    (Wrong::UndoLeavesTheBracket, Rule::UndoLeavesNothing),
    (Wrong::UndoNeedsTheAnswer, Rule::UndoLeavesNothing),
    (Wrong::SecondUndoFails, Rule::UndoTwice),
];

#[test]
fn each_broken_promise_is_named() {
    for (wrong, rule) in BROKEN {
        let broken = drive(wrong).unwrap_err();
        assert_eq!(broken.rule, rule, "{wrong:?}: {broken}");
        let text = broken.to_string();
        assert!(text.contains("MountNetns"), "{text}");
    }
}

#[test]
fn every_rule_of_a_rung_has_one_that_breaks_it() {
    let caught: BTreeSet<Rule> = BROKEN.iter().map(|(_, rule)| *rule).collect();
    let of_rungs = Rule::ALL.iter().filter(|rule| **rule < Rule::Takes);
    let due: BTreeSet<Rule> = of_rungs.copied().collect();
    let cases = BTreeSet::from([Rule::CaseProves]);
    assert_eq!(caught, &due - &cases);
}

fn unfit(case: &Case<'_, MountNetns>) {
    let broken = block_on(conformance::rung(case)).unwrap_err();
    assert_eq!(broken.rule, Rule::CaseProves, "{broken}");
}

#[test]
fn a_case_that_can_show_nothing_is_refused() {
    let shelf = Shelf::new(Wrong::Nothing);
    unfit(&case(&shelf).part("nothing", || Box::pin(async {})));
    let looks = AtomicU32::new(0);
    unfit(&Case::new(&shelf, below(), || {
        BTreeSet::from([looks.fetch_add(1, Ordering::Relaxed).to_string()])
    }));
    let asked = Walk::new(pod_id(1), pod_spec("web"), "/run/netns").unwrap();
    unfit(&Case::new(&shelf, asked.pod(), || shelf.look()));
    unfit(&Case::new(&shelf, below(), BTreeSet::new));
}

#[test]
fn a_step_that_leaves_nothing_must_say_so() {
    let shelf = Shelf::new(Wrong::Nothing);
    let blind = Case::new(&shelf, below(), BTreeSet::new).leaves_nothing();
    block_on(conformance::rung(&blind)).unwrap();
}

#[test]
fn a_walk_takes_only_what_comes_next() {
    let mut walk = Walk::new(pod_id(1), pod_spec("web"), "/run/netns").unwrap();
    let done = || Record::Done(Output::Create(CreateOutput {}));
    walk.record(done()).unwrap();
    let broken = walk.record(done()).unwrap_err();
    assert_eq!(broken.rule, Rule::CaseProves);
}

#[test]
fn a_walk_goes_up_and_down_by_its_rungs() {
    let shelf = Shelf::new(Wrong::Nothing);
    let mut walk = Walk::new(pod_id(1), pod_spec("web"), "/run/netns").unwrap();
    walk.record(Record::Done(Output::Create(CreateOutput {})))
        .unwrap();
    let output = block_on(walk.climb(&shelf)).unwrap();
    assert_eq!(walk.pod().namespace, Some(output.namespace));
    assert_eq!(shelf.look().len(), 2);
    block_on(walk.descend(&shelf)).unwrap();
    assert_eq!(walk.pod().namespace, None);
    assert!(shelf.look().is_empty());
    let stuck = Shelf::new(Wrong::UndoOfNothingFails);
    let broken = block_on(walk.descend(&stuck)).unwrap_err();
    assert_eq!(broken.rule, Rule::UndoWorks);
}
