//! CNI needs a namespace that is ready.

use podwalk_engine::typed::{Created, Pod};

async fn too_early(pod: Pod<Created>) {
    let _ = pod.configure_cni().await;
}

fn main() {
    let _ = too_early;
}
