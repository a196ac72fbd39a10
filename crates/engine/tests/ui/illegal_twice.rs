//! A step is taken once: the handle is used up.

use podwalk_engine::typed::{Created, Pod};

async fn twice(pod: Pod<Created>) {
    let _ = pod.mount_netns().await;
    let _ = pod.mount_netns().await;
}

fn main() {
    let _ = twice;
}
