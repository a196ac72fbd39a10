//! What does compile, so that the others fail for their own reason.

use podwalk_engine::engine::EngineError;
use podwalk_engine::typed::{Created, Pod, Started};

async fn up(pod: Pod<Created>) -> Result<Pod<Started>, EngineError> {
    let mounted = pod.mount_netns().await?;
    let ready = mounted.ready_network().await?;
    let configured = ready.configure_cni().await?;
    configured.start().await
}

async fn down(pod: Pod<Started>) -> Result<(), EngineError> {
    pod.stop().await?.remove().await
}

fn main() {
    let _ = (up, down);
}
