//! Nobody makes states of their own.

use podwalk_engine::typed::{Pod, TypedState};

enum Mine {}

impl TypedState for Mine {}

fn made_up(_: Pod<Mine>) {}

fn main() {
    let _ = made_up;
}
