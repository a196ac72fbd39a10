//! One pod, everywhere.

use podwalk_engine::decide::Policy;
use podwalk_engine::step::{NetworkMode, Step};
use podwalk_testkit::sim::{
    Call, Fault, Mishap, Mode, Schedule, Setup, Share, Site, Survey, World,
};

use super::proved;

const UP: &[Call] = &[Call::Start];
const UP_AND_DOWN: &[Call] = &[Call::Start, Call::Stop];
const ALL_THE_WAY: &[Call] = &[Call::Start, Call::Stop, Call::Remove];

fn ladder() -> &'static [Step] {
    NetworkMode::Cni.ladder()
}

/// What a start alone undoes, on its way up again after a crash.
const UNDONE: &[Step] = &[Step::ConfigureCni, Step::Start];

fn two_crashes(calls: &[Call], share: Share) {
    let schedule = Schedule::of(Mode::Cni, calls);
    let survey = World::default().crashes(&schedule, 2, share);
    assert!(survey.runs > 5_000, "only {} runs", survey.runs);
    let what = format!(
        "two crashes, {calls:?}, part {} of {}",
        share.part, share.of
    );
    // A share dies at some points only; `one_crash_whoever_runs_first` at all.
    proved(&what, &survey, &[]);
}

fn request_and_crash(calls: &[Call], asked: &[Call], share: Share) {
    let schedule = Schedule::of(Mode::Cni, calls);
    let survey = World::default().requests(&schedule, asked, share);
    assert!(survey.runs > 5_000, "only {} runs", survey.runs);
    let what = format!("{asked:?} at every moment of {calls:?} and one crash");
    proved(&what, &survey, ladder());
}

macro_rules! shares {
    ($($name:ident: $explore:expr, $part:literal of $of:literal;)*) => {$(
        #[test]
        fn $name() {
            $explore(Share { part: $part, of: $of });
        }
    )*};
}

shares! {
    two_crashes_of_a_start_1: |share| two_crashes(UP, share), 0 of 2;
    two_crashes_of_a_start_2: |share| two_crashes(UP, share), 1 of 2;
    two_crashes_of_start_and_stop_1: |share| two_crashes(UP_AND_DOWN, share), 0 of 3;
    two_crashes_of_start_and_stop_2: |share| two_crashes(UP_AND_DOWN, share), 1 of 3;
    two_crashes_of_start_and_stop_3: |share| two_crashes(UP_AND_DOWN, share), 2 of 3;
    two_crashes_all_the_way_1: |share| two_crashes(ALL_THE_WAY, share), 0 of 4;
    two_crashes_all_the_way_2: |share| two_crashes(ALL_THE_WAY, share), 1 of 4;
    two_crashes_all_the_way_3: |share| two_crashes(ALL_THE_WAY, share), 2 of 4;
    two_crashes_all_the_way_4: |share| two_crashes(ALL_THE_WAY, share), 3 of 4;
    a_stop_and_a_crash: |share| request_and_crash(ALL_THE_WAY, &[Call::Stop], share), 0 of 1;
    a_removal_and_a_crash: |share| request_and_crash(ALL_THE_WAY, &[Call::Remove], share), 0 of 1;
    a_repeated_start_and_a_crash: |share| request_and_crash(ALL_THE_WAY, &[Call::Start], share), 0 of 1;
    a_sandbox_that_dies_and_a_crash: |share| request_and_crash(ALL_THE_WAY, &[Call::Die], share), 0 of 1;
    a_full_disk_and_a_crash: |share| request_and_crash(ALL_THE_WAY, &[Call::Fill], share), 0 of 1;
}

/// What outlived the daemon goes on while the next one looks and undoes.
#[test]
fn two_crashes_with_restless_strays() {
    let mut schedule = Schedule::of(Mode::Cni, UP);
    schedule.setup.restless = true;
    let survey = World::default().crashes(&schedule, 2, Share::ALL);
    proved("two crashes, restless strays", &survey, UNDONE);
}

/// Ten minutes lie between an ADD and its DEL: a power loss can bring the
/// address back, and not take it away.
#[test]
fn two_crashes_of_a_pod_whose_add_is_on_disk_for_good() {
    let calls = [Call::Start, Call::Pause, Call::Stop, Call::Remove];
    let mut all = Survey::default();
    let schedule = Schedule::of(Mode::Cni, &calls);
    all = all.and(World::default().crashes(&schedule, 1, Share::ALL));
    let asked = [Call::Stop, Call::Remove, Call::Start];
    all = all.and(World::default().requests(&schedule, &asked, Share { part: 0, of: 4 }));
    proved("an old ADD", &all, ladder());
}

/// One of three attachments goes wrong, and the others are undone all the same.
#[test]
fn one_crash_while_one_of_three_attachments_goes_wrong() {
    let mut all = Survey::default();
    for site in [Site::Apply, Site::Undo] {
        for mishap in [
            Mishap::Fail { after: 1 },
            Mishap::Hang { after: 0 },
            Mishap::Nonsense,
        ] {
            let fault = Fault::for_ever(Step::ConfigureCni, site, mishap).of_attachment(1);
            let mut schedule = Schedule::up_and_down();
            schedule.setup.attachments = 3;
            schedule.faults = vec![fault];
            all = all.and(World::default().crashes(&schedule, 1, Share::ALL));
        }
    }
    proved(
        "one of three attachments",
        &all,
        &[Step::Create, Step::MountNetns, Step::ConfigureCni],
    );
}

/// Scenario 58: a sandbox that takes the network away is climbed to anew from
/// Created, also when that descent is cut short.
#[test]
fn scenario_58_two_crashes_with_a_network_that_is_consumed() {
    let mut schedule = Schedule::of(Mode::Cni, UP);
    schedule.setup.consumes_network = true;
    let survey = World::default().crashes(&schedule, 2, Share::ALL);
    proved("two crashes, consumed network", &survey, &ladder()[1..]);
}

#[test]
fn one_crash_in_every_mode() {
    for (mode, attachments) in [
        (Mode::Cni, 1),
        (Mode::Cni, 3),
        (Mode::Alone, 1),
        (Mode::Host, 1),
    ] {
        let mut schedule = Schedule::of(mode, ALL_THE_WAY);
        schedule.setup.attachments = attachments;
        let survey = World::default().crashes(&schedule, 1, Share::ALL);
        assert!(survey.found.is_empty(), "{}", survey.found[0]);
        proved(
            &format!("{mode:?}, {attachments} attachments"),
            &survey,
            &[],
        );
    }
}

#[test]
fn one_crash_of_a_walk_that_is_not_to_be_resumed() {
    let mut schedule = Schedule::up_and_down();
    schedule.setup.policy = Policy {
        resume: false,
        ..Policy::default()
    };
    let survey = World::default().crashes(&schedule, 1, Share::ALL);
    proved("not resumed", &survey, &[]);
}

#[test]
fn one_crash_whoever_runs_first() {
    for seed in 1..=5 {
        let mut schedule = Schedule::up_and_down();
        schedule.setup.seed = seed;
        let survey = World::default().crashes(&schedule, 1, Share::ALL);
        proved(&format!("seed {seed}"), &survey, ladder());
    }
}

const MISHAPS: [Mishap; 5] = [
    Mishap::Fail { after: 0 },
    Mishap::Fail { after: 1 },
    Mishap::Fail { after: 2 },
    Mishap::LoseAnswer,
    Mishap::Hang { after: 1 },
];

/// This side of every step goes wrong in every way, once or for ever, with a
/// crash at every point of what follows.
fn something_goes_wrong(site: Site) {
    let mut all = Survey::default();
    for step in ladder() {
        for mishap in MISHAPS {
            for fault in [
                Fault::once(*step, site, mishap),
                Fault::for_ever(*step, site, mishap),
            ] {
                let mut schedule = Schedule::up_and_down();
                schedule.faults = vec![fault];
                all = all.and(World::default().crashes(&schedule, 1, Share::ALL));
            }
        }
    }
    proved(&format!("{site:?} goes wrong, one crash"), &all, ladder());
}

#[test]
fn one_crash_of_a_walk_in_which_a_step_goes_wrong() {
    something_goes_wrong(Site::Apply);
}

#[test]
fn one_crash_of_a_walk_in_which_an_undo_goes_wrong() {
    something_goes_wrong(Site::Undo);
}

#[test]
fn one_crash_of_a_walk_in_which_a_probe_goes_wrong() {
    something_goes_wrong(Site::Probe);
}

#[test]
fn one_crash_of_a_walk_in_which_a_killing_goes_wrong() {
    something_goes_wrong(Site::Quiet);
}

/// The same two runs, to the last point.
#[test]
fn a_schedule_is_always_the_same_run() {
    let schedule = Schedule {
        setup: Setup {
            seed: 7,
            attachments: 2,
            ..Setup::default()
        },
        ..Schedule::up_and_down()
    };
    let schedule = schedule.dying(40, podwalk_testkit::sim::Crash::Kill { strays: true });
    let world = World::default();
    assert_eq!(world.run(&schedule), world.run(&schedule));
}
