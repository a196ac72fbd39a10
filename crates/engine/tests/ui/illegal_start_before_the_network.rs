//! The sandbox starts in a configured network, never before it.

use podwalk_engine::typed::{NetnsMounted, Pod};

async fn too_early(pod: Pod<NetnsMounted>) {
    let _ = pod.start().await;
}

fn main() {
    let _ = too_early;
}
