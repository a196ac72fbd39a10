//! Pods whose state the compiler knows.
//!
//! For embedders who take the steps one by one: a step that cannot be taken
//! does not compile. Inside there is one truth, the fold; a typed pod is a
//! handle that says how far its holder has taken it.
//!
//! ```
//! # use podwalk_engine::typed::{Pod, Created, Started};
//! # use podwalk_engine::engine::EngineError;
//! # async fn walk(pod: Pod<Created>) -> Result<Pod<Started>, EngineError> {
//! pod.mount_netns().await?
//!     .ready_network().await?
//!     .configure_cni().await?
//!     .start().await
//! # }
//! ```
//!
//! In modes without a namespace of the pod's own, the steps between Created
//! and Started hold of themselves.

use std::marker::PhantomData;

use crate::engine::{Engine, EngineError};
use crate::id::PodId;
use crate::spec::PodSpec;
use crate::step::Step;

mod sealed {
    /// Implemented by the states of this module alone.
    pub trait Sealed {}
}

/// A state that a typed pod can be in.
pub trait TypedState: sealed::Sealed {}

macro_rules! states {
    ($($(#[$doc:meta])* $name:ident),*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub enum $name {}

        impl sealed::Sealed for $name {}

        impl TypedState for $name {}
    )*};
}

states! {
    /// The spec is recorded, the names are reserved.
    Created,
    /// A namespace is pinned.
    NetnsMounted,
    /// The namespace is ready to be configured.
    NetworkReady,
    /// Every attachment's ADD has succeeded, but for the late ones.
    CniConfigured,
    /// The sandbox runs, and its late networks are attached.
    Started,
    /// Everything but the file is undone. No way leads up again.
    Stopped
}

/// A pod that its holder has taken to state `S`.
///
/// Dropping the handle changes nothing: the pod belongs to the engine.
#[must_use = "a pod goes on without its handle; stop or remove it by id"]
pub struct Pod<S: TypedState> {
    engine: Engine,
    id: PodId,
    state: PhantomData<fn() -> S>,
}

impl Engine {
    /// Takes the first step of a new pod, and no other.
    ///
    /// # Errors
    /// [`EngineError::AlreadyExists`] also when the same spec runs already: a
    /// typed walk is never joined. Otherwise as for [`Engine::start`].
    pub async fn create(&self, id: PodId, spec: PodSpec) -> Result<Pod<Created>, EngineError> {
        self.create_only(id, spec).await?;
        Ok(Pod::at(self.clone(), id))
    }
}

impl<S: TypedState> Pod<S> {
    fn at(engine: Engine, id: PodId) -> Self {
        Self {
            engine,
            id,
            state: PhantomData,
        }
    }

    /// The pod's id.
    pub fn id(&self) -> PodId {
        self.id
    }

    async fn climb<T: TypedState>(self, step: Step) -> Result<Pod<T>, EngineError> {
        self.engine.climb_to(self.id, step).await?;
        Ok(Pod::at(self.engine, self.id))
    }

    /// Undoes whatever has been done, in reverse, and keeps the file.
    ///
    /// # Errors
    /// As for [`Engine::stop`].
    pub async fn stop(self) -> Result<Pod<Stopped>, EngineError> {
        self.engine.stop(self.id).await?;
        Ok(Pod::at(self.engine, self.id))
    }

    /// Undoes everything and forgets the pod.
    ///
    /// # Errors
    /// As for [`Engine::remove`].
    pub async fn remove(self) -> Result<(), EngineError> {
        self.engine.remove(self.id).await
    }
}

impl Pod<Created> {
    /// Makes a network namespace and pins it.
    ///
    /// # Errors
    /// When it failed; the pod is undone then, as for every step.
    pub async fn mount_netns(self) -> Result<Pod<NetnsMounted>, EngineError> {
        self.climb(Step::MountNetns).await
    }
}

impl Pod<NetnsMounted> {
    /// Brings `lo` up and pins the network plan.
    ///
    /// # Errors
    /// When it failed.
    pub async fn ready_network(self) -> Result<Pod<NetworkReady>, EngineError> {
        self.climb(Step::ReadyNetwork).await
    }
}

impl Pod<NetworkReady> {
    /// ADD for every attachment that is not late.
    ///
    /// # Errors
    /// When it failed.
    pub async fn configure_cni(self) -> Result<Pod<CniConfigured>, EngineError> {
        self.climb(Step::ConfigureCni).await
    }
}

impl Pod<CniConfigured> {
    /// Starts the sandbox, and attaches the networks that want one that runs:
    /// a pod is not Started before that.
    ///
    /// # Errors
    /// When one of the two failed.
    pub async fn start(self) -> Result<Pod<Started>, EngineError> {
        self.climb(Step::AttachLate).await
    }
}
