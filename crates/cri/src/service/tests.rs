//! The services over the engine's own code on a simulated machine.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Mutex;

use futures_util::StreamExt;
use podwalk_engine::ports::BoxFuture;
use podwalk_testkit::sim::{self, Setup, pod_id};

use super::*;
use crate::node::{CpuUsage, Handler, LinkUsage, MemoryUsage, Traffic, Usage};

mod events;
mod node;
mod pods;

/// A machine that lends what the tests ask for.
#[derive(Default)]
pub(crate) struct Lent {
    ids: Mutex<u32>,
    network: Option<Condition>,
    cidr: Mutex<String>,
    silent: bool,
}

impl Node for Lent {
    fn fresh_id(&self) -> io::Result<PodId> {
        let mut last = self.ids.lock().unwrap();
        *last += 1;
        Ok(pod_id(*last))
    }

    fn version(&self) -> String {
        "1.2.3".to_owned()
    }

    fn seen(&self, view: PodView) -> PodView {
        view
    }

    fn addresses(&self, view: &PodView) -> Vec<IpAddr> {
        let ready = view.ready.then_some(["10.0.0.2", "fd00::2"]);
        let told = ready.into_iter().flatten();
        told.map(|text| text.parse().unwrap()).collect()
    }

    fn inspect(&self, view: &PodView) -> serde_json::Value {
        let sandbox = view.ready.then(|| serde_json::json!({ "pid": 7 }));
        serde_json::json!({ "id": view.pod.id.to_string(), "sandbox": sandbox })
    }

    fn handlers(&self) -> Vec<Handler> {
        let handler = |name: &str, user_namespaces| Handler {
            name: name.to_owned(),
            user_namespaces,
        };
        vec![
            handler("", true),
            handler("crun", true),
            handler("vm", false),
            handler("youki", true),
        ]
    }

    fn handler_is_present(&self, name: &str) -> bool {
        name != "youki"
    }

    fn cgroup_driver(&self) -> CgroupDriver {
        CgroupDriver::Cgroupfs
    }

    fn network(&self) -> BoxFuture<'_, Condition> {
        let ready = Condition {
            holds: true,
            reason: String::new(),
            message: String::new(),
        };
        Box::pin(std::future::ready(self.network.clone().unwrap_or(ready)))
    }

    fn usage<'a>(&'a self, _view: &'a PodView) -> BoxFuture<'a, io::Result<Usage>> {
        let traffic = |bytes| Traffic {
            bytes,
            packets: 2,
            errors: 3,
            dropped: 4,
        };
        let link = |name: &str| LinkUsage {
            name: name.to_owned(),
            received: traffic(100),
            sent: traffic(200),
        };
        let usage = Usage {
            at: 7,
            cpu: Some(CpuUsage { total: 1000 }),
            memory: Some(MemoryUsage {
                usage: 64,
                working_set: 48,
                rss: 32,
                limit: Some(50),
                page_faults: 5,
                major_page_faults: 1,
            }),
            processes: Some(1),
            links: Some(vec![link("eth0"), link("eth1")]),
        };
        Box::pin(std::future::ready(match self.silent {
            true => Err(io::Error::other("the kernel says nothing")),
            false => Ok(usage),
        }))
    }

    fn image_directory(&self) -> PathBuf {
        PathBuf::from("/var/lib/podwalk")
    }

    fn set_pod_cidr(&self, cidr: &str) -> Result<(), String> {
        if cidr == "nonsense" {
            return Err("it is none".to_owned());
        }
        cidr.clone_into(&mut self.cidr.lock().unwrap());
        Ok(())
    }
}

/// A machine, its daemon's engine, and the services.
struct Scene {
    machine: sim::Node,
    runtime: Arc<Runtime>,
    lent: Arc<Lent>,
}

fn scene_with(lent: Lent) -> Scene {
    scene_on(sim::Node::new(Setup::default()), lent)
}

/// Boots a machine, whatever was on it.
fn scene_on(machine: sim::Node, lent: Lent) -> Scene {
    let (engine, _) = machine.boot().answer();
    let lent = Arc::new(lent);
    let runtime = Arc::new(Runtime {
        engine,
        node: lent.clone(),
    });
    Scene {
        machine,
        runtime,
        lent,
    }
}

fn scene() -> Scene {
    scene_with(Lent::default())
}

impl Scene {
    /// A call that is answered at once.
    fn ask<T>(&self, call: impl AsyncFnOnce(Arc<Runtime>) -> Answer<T>) -> Result<T, Status> {
        let runtime = self.runtime.clone();
        futures_executor::block_on(call(runtime)).map(Response::into_inner)
    }

    /// A call that a walk stands behind.
    fn walk<T: Send + 'static>(
        &self,
        call: impl Future<Output = Answer<T>> + Send + 'static,
    ) -> Result<T, Status> {
        self.machine.run(call).answer().map(Response::into_inner)
    }

    fn run(&self, config: v1::PodSandboxConfig, handler: &str) -> Result<String, Status> {
        let runtime = self.runtime.clone();
        let request = v1::RunPodSandboxRequest {
            config: Some(config),
            runtime_handler: handler.to_owned(),
        };
        let ran = self.walk(async move { runtime.run_pod_sandbox(Request::new(request)).await });
        ran.map(|ran| ran.pod_sandbox_id)
    }

    fn stop(&self, id: &str) -> Result<(), Status> {
        let runtime = self.runtime.clone();
        let request = v1::StopPodSandboxRequest {
            pod_sandbox_id: id.to_owned(),
        };
        let stopped =
            self.walk(async move { runtime.stop_pod_sandbox(Request::new(request)).await });
        stopped.map(drop)
    }

    fn remove(&self, id: &str) -> Result<(), Status> {
        let runtime = self.runtime.clone();
        let request = v1::RemovePodSandboxRequest {
            pod_sandbox_id: id.to_owned(),
        };
        let removed =
            self.walk(async move { runtime.remove_pod_sandbox(Request::new(request)).await });
        removed.map(drop)
    }

    fn status(&self, id: &str) -> Result<v1::PodSandboxStatusResponse, Status> {
        let request = v1::PodSandboxStatusRequest {
            pod_sandbox_id: id.to_owned(),
            verbose: true,
        };
        self.ask(async move |cri| cri.pod_sandbox_status(Request::new(request)).await)
    }

    fn list(&self, filter: v1::PodSandboxFilter) -> Vec<String> {
        let request = v1::ListPodSandboxRequest {
            filter: Some(filter),
        };
        let listed = self.ask(async move |cri| cri.list_pod_sandbox(Request::new(request)).await);
        let items = listed.unwrap().items.into_iter();
        items.map(|item| item.metadata.unwrap().name).collect()
    }
}

fn pod(name: &str, attempt: u32) -> v1::PodSandboxConfig {
    v1::PodSandboxConfig {
        metadata: Some(v1::PodSandboxMetadata {
            name: name.to_owned(),
            uid: String::new(),
            namespace: "tests".to_owned(),
            attempt,
        }),
        labels: [("app".to_owned(), name.to_owned())].into(),
        ..Default::default()
    }
}

fn id_filter(id: &str) -> v1::PodSandboxFilter {
    v1::PodSandboxFilter {
        id: id.to_owned(),
        ..Default::default()
    }
}

pub(crate) fn nothing<T: Default>() -> Request<T> {
    Request::new(T::default())
}
