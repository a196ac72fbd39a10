//! Create: what can be known before anything is made is checked, and the
//! placeholder file is made. Remove: the file goes.

use std::time::Duration;

use podwalk_engine::error::{ErrorKind, StepError};
use podwalk_engine::pod::Pod;
use podwalk_engine::ports::{BoxFuture, Create, Failure, Probe, Rung};
use podwalk_engine::record::{CreateIntent, CreateOutput};
use podwalk_engine::spec::{PodSpec, Sharing};
use podwalk_engine::step::NetworkMode;
use podwalk_netns::Found;
use podwalk_oci::Handler;

use super::{Host, blocking, of_netns, of_sysctl, path_of, sandbox};

pub(super) struct CreateRung(pub(super) Host);

impl CreateRung {
    /// What the pod will need must be there: its handler, its networks; and
    /// its sysctls must be allowed.
    fn check(&self, spec: &PodSpec) -> Result<(), StepError> {
        let runtime = self.0.handlers.find(&spec.runtime_handler)?;
        suits(runtime.handler(), spec)?;
        for name in spec.sysctls.keys() {
            podwalk_netns::check_sysctl(name, &self.0.allowed_sysctls)
                .map_err(|refused| of_sysctl(&refused))?;
        }
        self.0.networks_of(spec).plan(spec).map(drop)
    }

    async fn place(&self, pod: &Pod, intent: &CreateIntent) -> Result<(), StepError> {
        self.check(&intent.spec)?;
        let spec = intent.spec.clone();
        let path = path_of(intent.sandbox_key.as_ref()).map(ToOwned::to_owned);
        let work = move || {
            sandbox::check(&spec)?;
            let placed = path.map_or(Ok(()), |path| podwalk_netns::place(&path));
            placed.map_err(of_netns)
        };
        self.0.effect(pod, work).await?
    }
}

/// What a pod asks for must be something that its handler can give.
fn suits(handler: &Handler, spec: &PodSpec) -> Result<(), StepError> {
    let name = &handler.name;
    let whose = match spec.network {
        NetworkMode::Host => Some("the host's"),
        NetworkMode::Pod(_) => Some("another pod's"),
        NetworkMode::Cni | NetworkMode::None => None,
    };
    if let Some(whose) = whose.filter(|_| handler.consumes_network) {
        let message = format!(
            "a sandbox of runtime handler '{name}' takes its network namespace's addresses for \
             itself, and was to be started in {whose}"
        );
        return Err(StepError::new(ErrorKind::Invalid, message)
            .remedy("ask for the network mode cni or none, or for another handler"));
    }
    let security = &spec.security;
    for (field, sharing) in [("pid", security.pid), ("ipc", security.ipc)] {
        if handler.vm && sharing == Sharing::Node {
            let message = format!(
                "namespace_options.{field} is NODE, and a sandbox of runtime handler '{name}' has a \
                 kernel of its own, to which the host's {field} namespace is unknown"
            );
            return Err(StepError::new(ErrorKind::Invalid, message).remedy(format!(
                "ask for another mode of namespace_options.{field}, or for another handler"
            )));
        }
    }
    if handler.vm && security.user_namespace.is_some() {
        let message = format!(
            "a sandbox of runtime handler '{name}' has a kernel of its own, and no user namespace \
             of this one's"
        );
        return Err(StepError::new(ErrorKind::Invalid, message)
            .remedy("leave userns_options out, or ask for another handler"));
    }
    Ok(())
}

impl Rung for CreateRung {
    type Step = Create;

    fn deadline(&self, _pod: &Pod) -> Duration {
        Duration::from_secs(5)
    }

    fn quiet<'a>(&'a self, pod: &'a Pod) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(async move {
            self.0.thread_ended(pod).await;
            Ok(())
        })
    }

    fn probe<'a>(
        &'a self,
        _pod: &'a Pod,
        intent: &'a CreateIntent,
    ) -> BoxFuture<'a, Probe<CreateOutput>> {
        Box::pin(async move {
            let Some(path) = path_of(intent.sandbox_key.as_ref()).map(ToOwned::to_owned) else {
                // Nothing is made; what is checked must be checked again.
                return Probe::Absent;
            };
            match blocking(move || podwalk_netns::probe(&path)).await {
                // The file says nothing of the checks before it.
                Ok(Ok(Found::Missing | Found::Empty)) => Probe::Absent,
                Ok(Ok(_)) => Probe::Partial,
                Ok(Err(_)) | Err(_) => Probe::Unknown,
            }
        })
    }

    fn apply<'a>(
        &'a self,
        pod: &'a Pod,
        intent: &'a CreateIntent,
    ) -> BoxFuture<'a, Result<CreateOutput, Failure>> {
        Box::pin(async move {
            self.place(pod, intent).await.map_err(Failure::not_done)?;
            Ok(CreateOutput {})
        })
    }

    fn undo<'a>(
        &'a self,
        pod: &'a Pod,
        _attachment: Option<u32>,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(async move {
            // The place of the pod's effects goes with the pod.
            self.0.quiet(pod).await?;
            let Some(path) = path_of(pod.sandbox_key.as_ref()).map(ToOwned::to_owned) else {
                return Ok(());
            };
            let gone = move || {
                podwalk_netns::unpin(&path)?;
                podwalk_netns::unlink(&path)
            };
            self.0.effect(pod, gone).await?.map_err(of_netns)
        })
    }
}

#[cfg(test)]
mod tests;
