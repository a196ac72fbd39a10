//! What is ours on the host and no pod's: listed, removed.

use std::io;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::{Answer, Refused, Served};
use crate::api::Orphan;
use crate::orphans::Orphans;

pub(super) async fn list(State(served): State<Arc<Served>>) -> Answer<Vec<Orphan>> {
    look(&served, Orphans::find).await
}

pub(super) async fn remove(State(served): State<Arc<Served>>) -> Answer<Vec<Orphan>> {
    look(&served, Orphans::remove).await
}

/// On a thread that may block.
async fn look(
    served: &Served,
    look: impl FnOnce(&Orphans) -> io::Result<Vec<Orphan>> + Send + 'static,
) -> Answer<Vec<Orphan>> {
    let orphans = served.orphans.clone();
    let looked = tokio::task::spawn_blocking(move || look(&orphans)).await;
    let found = looked.unwrap_or_else(|error| Err(io::Error::other(error)));
    found.map(Json).map_err(|error| {
        let message = format!("orphans cannot be looked for: {error}");
        Refused::new(StatusCode::FAILED_DEPENDENCY, "environment", message)
    })
}
