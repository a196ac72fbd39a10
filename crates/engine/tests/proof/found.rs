//! What drawn schedules have found, as they printed it. Each was a mistake of
//! the engine's, and is mended.

use podwalk_engine::step::Step;
use podwalk_testkit::sim::{Call, Client, Fault, Mishap, Mode, Schedule, Setup, Site, World};

/// Three attachments whose undo takes longer than the pause between two tries:
/// there was no pause, and a Remove got no answer.
#[test]
fn who_waits_for_several_undos_that_hang_is_answered() {
    let schedule = Schedule {
        setup: Setup {
            attachments: 3,
            ..Setup::default()
        },
        faults: vec![Fault::for_ever(
            Step::ConfigureCni,
            Site::Undo,
            Mishap::Hang { after: 0 },
        )],
        clients: vec![Client {
            mode: Mode::Cni,
            calls: vec![Call::Start, Call::Remove],
        }],
        ..Schedule::default()
    };
    let run = World::default().run(&schedule);
    assert_eq!(run.complaints, Vec::<String>::new());
}
