//! From a stopped pod no way leads up.

use podwalk_engine::typed::{Pod, Stopped};

async fn again(pod: Pod<Stopped>) {
    let _ = pod.mount_netns().await;
}

fn main() {
    let _ = again;
}
