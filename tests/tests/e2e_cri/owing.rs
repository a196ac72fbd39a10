//! Events of failed starts that owe: a list shows them, so events tell of them.

use anyhow::{Context, Result, ensure};
use k8s_cri::v1;
use k8s_cri::v1::ContainerEventType::{
    self, ContainerCreatedEvent, ContainerDeletedEvent, ContainerStartedEvent,
    ContainerStoppedEvent,
};
use podwalk_testkit::scripted_plugin::{Answer, Script};
use podwalk_tests::conflist::Bridge;
use podwalk_tests::cri::{Cri, pod, refused};
use podwalk_tests::daemon::Config;
use podwalk_tests::node::{self, Layout};
use podwalk_tests::plugins::Plugins;
use podwalk_tests::scene::{End, Scene};
use podwalk_tests::wait;
use serde_json::json;
use tonic::{Code, Streaming};

use crate::{PATIENCE, READY};

/// What a client makes of events and of lists.
struct Client<'a> {
    cri: &'a Cri,
    events: Streaming<v1::ContainerEventResponse>,
}

impl<'a> Client<'a> {
    fn of(cri: &'a Cri) -> Result<Self> {
        let request = v1::GetEventsRequest::default();
        let events = cri.ask(async move |mut cri| cri.get_container_events(request).await)?;
        Ok(Self { cri, events })
    }

    /// The sandboxes that are listed, and whether each is ready.
    fn listed(&self) -> Result<Vec<(String, bool)>> {
        let listed = self.cri.list(v1::PodSandboxFilter::default())?;
        let listed = listed.into_iter().map(|one| (one.id, one.state == READY));
        Ok(listed.collect())
    }

    /// Expects the next events to be these, of one sandbox; its id.
    fn hears(&mut self, words: &[ContainerEventType]) -> Result<String> {
        let mut heard = Vec::new();
        let listen = async {
            while heard.len() < words.len() {
                let event = self.events.message().await?.context("the end")?;
                let status = event.pod_sandbox_status.clone().context("no status")?;
                let is_up = words.contains(&ContainerStartedEvent);
                ensure!((status.state == READY) == is_up, "{event:?}");
                heard.push(event);
            }
            Ok(())
        };
        let bounded = async { tokio::time::timeout(PATIENCE, listen).await };
        let waited = self.cri.tasks().block_on(bounded);
        waited.with_context(|| format!("{words:?} do not come: {heard:?}"))??;
        let said: Vec<_> = heard.iter().map(|one| one.container_event_type()).collect();
        ensure!(said == words, "{words:?} and not {heard:?}");
        let id = heard[0].container_id.clone();
        ensure!(heard.iter().all(|one| one.container_id == id), "{heard:?}");
        Ok(id)
    }
}

fn broken() -> Script {
    let fails = || Answer {
        error: Some(json!({"cniVersion": "1.0.0", "code": 120, "msg": "no controller"})),
        ..Answer::default()
    };
    Script::new().on("ADD", fails()).on("DEL", fails())
}

#[test]
fn a_failed_start_that_owes_comes_into_list_and_events_and_goes_out_of_both() -> Result<()> {
    node::run(Layout::V2, || {
        let mut config = Config::with_file("[debts]\ngrace_seconds = 3\n");
        let plugin = Plugins::before(&mut config)?.scripted("scripted", &broken())?;
        let network = Bridge::new("net0", "10.77.0.0/24").then(json!({"type": "scripted"}));
        let scene = Scene::open_with(&config, &[network])?;
        let cri = Cri::at(scene.client().address())?;
        let mut client = Client::of(&cri)?;
        let run = |attempt| {
            let answer = cri.run(pod("web", attempt), "");
            refused(answer, Code::Internal, &["no controller", "ADD", "DEL"])
        };
        let comes_down = [ContainerCreatedEvent, ContainerStoppedEvent];

        run(0)?;
        let id = client.hears(&comes_down)?;
        ensure!(client.listed()? == [(id.clone(), false)]);

        // Another daemon pays: its clients have seen the pod in its list.
        let scene = scene.restart(End::Kill)?;
        let mut client = Client::of(&cri)?;
        ensure!(client.listed()? == [(id.clone(), false)]);
        plugin.set_script(&Script::new())?;
        ensure!(client.hears(&[ContainerDeletedEvent])? == id);
        ensure!(client.listed()?.is_empty());

        // A Remove that is answered while it owes is the end of it, for its clients.
        plugin.set_script(&broken())?;
        run(1)?;
        let id = client.hears(&comes_down)?;
        let removed = wait::until(PATIENCE, || Ok(cri.remove(&id).ok()))?;
        removed.context("the grace does not end")?;
        ensure!(client.hears(&[ContainerDeletedEvent])? == id);
        ensure!(client.listed()?.is_empty());

        // Nothing more is told of it when it is paid.
        plugin.set_script(&Script::new())?;
        scene.client().call(["debts", "pay", &id])?.done()?;
        let id = cri.run(pod("web", 2), "")?;
        let comes_up = [ContainerCreatedEvent, ContainerStartedEvent];
        ensure!(client.hears(&comes_up)? == id);
        cri.stop(&id)?;
        cri.remove(&id)?;
        ensure!(client.hears(&[ContainerStoppedEvent, ContainerDeletedEvent])? == id);
        scene.close()
    })
}
