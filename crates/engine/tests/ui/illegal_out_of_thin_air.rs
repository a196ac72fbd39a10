//! A handle comes from a walk, never from an id.

use podwalk_engine::engine::Engine;
use podwalk_engine::id::PodId;
use podwalk_engine::typed::{Pod, Started};

fn made_up(engine: Engine, id: PodId) -> Pod<Started> {
    Pod::at(engine, id)
}

fn main() {
    let _ = made_up;
}
