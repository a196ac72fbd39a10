//! Which failures are final, and which warnings are losses.

use super::*;

#[test]
fn only_a_failed_sync_is_one() {
    let failed = |action| OpenError::io(action, "/journal")(io::ErrorKind::Other.into());
    assert!(failed("sync").is_failed_sync());
    assert!(!failed("write").is_failed_sync());
}

#[test]
fn what_is_missing_or_came_back_is_a_loss_and_litter_is_none() {
    let (found, written) = (Census::default(), Census::default());
    for (warning, is_loss) in [
        (Warning::CensusMismatch { written, found }, true),
        (Warning::CensusMissing { found }, true),
        (
            Warning::RolledBack {
                written: 2,
                found: 1,
            },
            true,
        ),
        (Warning::InterruptedOpening { file: "f".into() }, false),
        (Warning::UnknownKeys { count: 1 }, false),
    ] {
        assert_eq!(warning.is_loss(), is_loss, "{warning}");
    }
}
