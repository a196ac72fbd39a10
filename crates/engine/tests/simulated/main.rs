//! The engine's own code on a simulated machine (see `podwalk_testkit::sim`).

mod crashes;
