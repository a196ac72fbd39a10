//! The ledger: listed, paid, written off.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use podwalk_cni::Attachment;
use podwalk_engine::engine::PodView;
use podwalk_engine::pod::Owed;

use super::{Answer, Refused, Served, one_of, too_large};
use crate::api::{DebtLine, ForgiveAnswer, PayAnswer, ReasonRequest};

/// The longest reason, in characters: it is a record of every debt.
const LONGEST_REASON: usize = 1000;

pub(super) async fn list(State(served): State<Arc<Served>>) -> Answer<Vec<DebtLine>> {
    let now = served.engine.now();
    let views = served.engine.list();
    let lines = views.iter().flat_map(|view| DebtLine::of(&view.pod, &now));
    Ok(Json(lines.collect()))
}

/// The pod that is meant; of several with a name, the one that owes.
fn owing(served: &Served, text: &str) -> Result<PodView, Refused> {
    one_of(&served.engine, text, |view| !view.pod.debts.is_empty())
}

pub(super) async fn pay(
    State(served): State<Arc<Served>>,
    Path(pod): Path<String>,
) -> Answer<PayAnswer> {
    let id = owing(&served, &pod)?.pod.id;
    served.engine.pay(id).await?;
    Ok(Json(PayAnswer { id: id.to_string() }))
}

pub(super) async fn forgive(
    State(served): State<Arc<Served>>,
    Path(pod): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Answer<ForgiveAnswer> {
    let reason = reason(body)?;
    let view = owing(&served, &pod)?;
    let id = view.pod.id;
    let forgiven = served.engine.forgive_all(id, reason).await?;
    forget(&served, &view, &forgiven);
    let after = served.engine.get(id);
    let owed = after.map(|view| view.pod.owed()).unwrap_or_default();
    let answer = ForgiveAnswer::of(id.to_string(), &forgiven, &owed);
    Ok(Json(answer))
}

/// No plugin will be told of them any more.
fn forget(served: &Served, view: &PodView, forgiven: &[Owed]) {
    let numbers = forgiven.iter().filter_map(|owed| owed.debt.attachment);
    let planned = numbers.filter_map(|number| view.pod.plan.get(number as usize));
    for planned in planned {
        let attachment = Attachment::new(view.pod.id.to_string(), planned.interface.clone());
        served.networks.cni().forget(&attachment.id());
    }
}

/// Somebody's words, which are recorded: one line of them.
pub(super) fn reason(body: Result<Bytes, BytesRejection>) -> Result<String, Refused> {
    let body = body.map_err(|rejection| too_large(&rejection))?;
    let request: ReasonRequest = serde_json::from_slice(&body)
        .map_err(|error| Refused::invalid(format!("the request is not valid: {error}")))?;
    let reason = request.reason.trim();
    let wrong = match reason {
        "" => Some("it is empty"),
        text if text.chars().any(char::is_control) => Some("it is more than one line of text"),
        text if text.chars().count() > LONGEST_REASON => Some("it is too long"),
        _ => None,
    };
    match wrong {
        None => Ok(reason.to_owned()),
        Some(why) => Err(Refused::invalid(format!(
            "the reason is recorded, and cannot be taken: {why} (say why in one line of at most {LONGEST_REASON} characters)"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(reason: &str) -> Result<String, String> {
        let body = serde_json::json!({"reason": reason}).to_string();
        super::reason(Ok(Bytes::from(body))).map_err(|refused| refused.1.message)
    }

    #[test]
    fn a_reason_is_one_line_that_says_something() {
        assert_eq!(asked(" gone for good ").as_deref(), Ok("gone for good"));
        for (text, why) in [
            ("", "empty"),
            (" \t ", "empty"),
            ("two\nlines", "one line"),
            (&"x".repeat(1001), "too long"),
        ] {
            let error = asked(text).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        assert!(asked(&"ü".repeat(1000)).is_ok());
    }

    #[test]
    fn other_keys_are_refused() {
        let body = Bytes::from_static(br#"{"reason": "x", "force": true}"#);
        let refused = super::reason(Ok(body)).unwrap_err();
        assert!(refused.1.message.contains("force"), "{refused:?}");
    }
}
