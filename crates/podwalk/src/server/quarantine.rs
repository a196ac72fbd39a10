//! Pods that do not decode: listed, shown, dropped.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;

use super::debts::reason;
use super::{Answer, Refused, Served};
use crate::api::{DropAnswer, QuarantineDetail, QuarantineSummary};
use crate::quarantine::QuarantineError;

impl From<QuarantineError> for Refused {
    fn from(error: QuarantineError) -> Self {
        let message = error.to_string();
        match error {
            QuarantineError::NoSuchPod(_) => Self::new(StatusCode::NOT_FOUND, "not-found", message),
            QuarantineError::Ambiguous { .. } => {
                Self::new(StatusCode::CONFLICT, "conflict", message)
            }
            QuarantineError::NotKept { .. } => {
                Self::new(StatusCode::FAILED_DEPENDENCY, "environment", message)
            }
            QuarantineError::Journal(error) => error.into(),
        }
    }
}

pub(super) async fn list(State(served): State<Arc<Served>>) -> Answer<Vec<QuarantineSummary>> {
    let list = served.quarantine.list().await?;
    Ok(Json(list.iter().map(QuarantineDetail::summary).collect()))
}

pub(super) async fn show(
    State(served): State<Arc<Served>>,
    Path(pod): Path<String>,
) -> Answer<QuarantineDetail> {
    Ok(Json(served.quarantine.find(&pod).await?))
}

pub(super) async fn drop_pod(
    State(served): State<Arc<Served>>,
    Path(pod): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Answer<DropAnswer> {
    let reason = reason(body)?;
    Ok(Json(served.quarantine.drop_pod(&pod, reason).await?))
}
