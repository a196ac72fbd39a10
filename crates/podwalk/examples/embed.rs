//! A node agent in one page: the engine and the real adapters, no daemon.
//!
//! It recovers what an earlier run may have left, starts one pod step by step,
//! shows its network, and takes it down again. Run it as root, with a conflist
//! in /etc/cni/net.d:
//!
//!     cargo run --example embed

use std::time::Duration;

use podwalk::config::Config;
use podwalk::serve;
use podwalk::settings::NetworkSettings;
use podwalk::world::fresh_id;
use podwalk_engine::PodSpec;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Config {
        state_dir: "/run/embed/state".into(),
        run_dir: "/run/embed".into(),
        // Pods shall not outlive this example's mount namespace.
        private_mounts: true,
        ..Config::default()
    };
    let node = serve::open(&config).await?;
    let report = node.engine.recover(&node.plan).await;
    println!("recovered: {report:?}");

    let spec = PodSpec {
        name: "embedded".to_owned(),
        namespace: "default".to_owned(),
        ..PodSpec::default()
    };
    // Each step is its own type: a pod that is not configured cannot be started.
    let pod = node.engine.create(fresh_id(node.instance)?, spec).await?;
    let pod = pod.mount_netns().await?.ready_network().await?;
    let pod = pod.configure_cni().await?.start().await?;

    let view = node.engine.get(pod.id());
    let view = view.ok_or_else(|| anyhow::anyhow!("a pod that was started is known"))?;
    let network = NetworkSettings::of(&view.pod, None);
    println!("{} is ready: {}", pod.id(), view.ready);
    println!("{} has {}", network.sandbox_key, network.ip_address);

    pod.stop().await?.remove().await?;
    println!("pods left: {}", node.engine.list().len());
    node.close(Duration::from_secs(10)).await;
    Ok(())
}
