//! Moments at which a crash would leave something different behind.
//!
//! A crash harness counts these events and ends the process at the n-th. They are emitted on the
//! real path and are its only hook. The names are spelt out, one by one, so that a search for one
//! finds it.

use podwalk_process::Moment;

use crate::error::Verb;

macro_rules! point {
    ($name:literal) => {
        tracing::trace!(target: "podwalk::point", point = $name)
    };
}

/// The next plugin is about to be started.
pub(crate) fn spawning(verb: Verb) {
    match verb {
        Verb::Add => point!("cni.add.spawning"),
        Verb::Del => point!("cni.del.spawning"),
        Verb::Gc => point!("cni.gc.spawning"),
        Verb::Check | Verb::Status | Verb::Version => {}
    }
}

/// How far the plugin's process is.
pub(crate) fn of_process(verb: Verb, moment: Moment) {
    match moment {
        Moment::Spawned => spawned(verb),
        Moment::Fed => fed(verb),
        Moment::Exited => exited(verb),
        Moment::CutOff => cut_off(verb),
    }
}

/// The plugin's process exists and waits for its configuration.
fn spawned(verb: Verb) {
    match verb {
        Verb::Add => point!("cni.add.spawned"),
        Verb::Del => point!("cni.del.spawned"),
        Verb::Gc => point!("cni.gc.spawned"),
        Verb::Check | Verb::Status | Verb::Version => {}
    }
}

/// The plugin has its whole configuration and is at work.
fn fed(verb: Verb) {
    match verb {
        Verb::Add => point!("cni.add.fed"),
        Verb::Del => point!("cni.del.fed"),
        Verb::Gc => point!("cni.gc.fed"),
        Verb::Check | Verb::Status | Verb::Version => {}
    }
}

/// The plugin's process has ended, and nobody has looked at how.
fn exited(verb: Verb) {
    match verb {
        Verb::Add => point!("cni.add.exited"),
        Verb::Del => point!("cni.del.exited"),
        Verb::Gc => point!("cni.gc.exited"),
        Verb::Check | Verb::Status | Verb::Version => {}
    }
}

/// The plugin was killed before its end, and nobody has been told.
fn cut_off(verb: Verb) {
    match verb {
        Verb::Add => point!("cni.add.cut-off"),
        Verb::Del => point!("cni.del.cut-off"),
        Verb::Gc => point!("cni.gc.cut-off"),
        Verb::Check | Verb::Status | Verb::Version => {}
    }
}

/// The plugin has done its part, and the next one has not begun.
pub(crate) fn plugin_done(verb: Verb) {
    match verb {
        Verb::Add => point!("cni.add.plugin-done"),
        Verb::Del => point!("cni.del.plugin-done"),
        Verb::Gc => point!("cni.gc.plugin-done"),
        Verb::Check | Verb::Status | Verb::Version => {}
    }
}

/// An ADD that is tried again has been undone.
pub(crate) fn undone_for_retry() {
    point!("cni.add.undone-for-retry");
}
