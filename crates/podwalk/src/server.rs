//! The admin API on the daemon's socket.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::StreamExt;
use podwalk_engine::engine::{Engine, EngineError, EngineErrorKind, PodView};
use podwalk_engine::event::{Cursor, Event};
use podwalk_engine::id::InstanceId;
use podwalk_engine::record::Goal;
use podwalk_engine::step::NetworkMode;
use serde::Deserialize;

use crate::api::{
    ErrorAnswer, EventLine, JournalLine, PlanAnswer, PodDetail, PodSummary, RunAnswer, RunRequest,
    VersionAnswer,
};
use crate::handlers::Handlers;
use crate::networks::Networks;
use crate::orphans::Orphans;
use crate::quarantine::Quarantine;
use crate::settings::NetworkSettings;
use crate::world::fresh_id;

mod debts;
mod orphans;
mod quarantine;

/// The largest request: more than any spec that is taken in, so that one that
/// is too large is refused by name.
const MAX_BODY: usize = 4 << 20;

/// What requests are answered from.
#[derive(Clone)]
pub struct Served {
    /// The engine.
    pub engine: Engine,
    /// The state directory's own name.
    pub instance: InstanceId,
    /// The runtime handlers: a pod whose handler is gone is not ready.
    pub handlers: Arc<Handlers>,
    /// The networks: what is written off is forgotten there too.
    pub networks: Arc<Networks>,
    /// Those of pods that name no handler: whether they are ready is told of the node.
    pub default_networks: Arc<Networks>,
    /// Pods that do not decode.
    pub quarantine: Quarantine,
    /// What is ours on the host and no pod's.
    pub orphans: Orphans,
}

impl Served {
    /// A pod as clients are to see it. One whose handler is not configured any
    /// more cannot be used, so that it is not ready, whatever runs.
    pub(crate) fn seen(&self, mut view: PodView) -> PodView {
        view.ready &= self.handlers.of(&view.pod).is_ok();
        view
    }

    fn summary(&self, view: &PodView) -> PodSummary {
        PodSummary::of(view, &settings(&self.engine, view))
    }
}

/// The API's routes.
pub fn routes(served: Served) -> Router {
    Router::new()
        .route("/v1/pods", get(list).post(run))
        .route("/v1/pods/{pod}", get(inspect).delete(remove))
        .route("/v1/pods/{pod}/stop", post(stop))
        .route("/v1/pods/{pod}/journal", get(journal))
        .route("/v1/pods/{pod}/debts/pay", post(debts::pay))
        .route("/v1/pods/{pod}/debts/forgive", post(debts::forgive))
        .route("/v1/debts", get(debts::list))
        .route("/v1/quarantine", get(quarantine::list))
        .route(
            "/v1/quarantine/{pod}",
            get(quarantine::show).delete(quarantine::drop_pod),
        )
        .route("/v1/orphans", get(orphans::list).delete(orphans::remove))
        .route("/v1/events", get(events))
        .route("/v1/plan", get(plan))
        .route("/v1/version", get(version))
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(Arc::new(served))
}

/// An error as it goes over the socket.
#[derive(Debug)]
struct Refused(StatusCode, ErrorAnswer);

impl Refused {
    fn new(status: StatusCode, kind: &str, message: String) -> Self {
        let kind = kind.to_owned();
        Self(status, ErrorAnswer { kind, message })
    }

    fn invalid(message: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", message)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(self.1)).into_response()
    }
}

impl From<EngineError> for Refused {
    fn from(error: EngineError) -> Self {
        let (status, kind) = match error.kind() {
            EngineErrorKind::NotFound => (StatusCode::NOT_FOUND, "not-found"),
            EngineErrorKind::Invalid => (StatusCode::BAD_REQUEST, "invalid"),
            EngineErrorKind::Conflict => (StatusCode::CONFLICT, "conflict"),
            EngineErrorKind::Retry => (StatusCode::SERVICE_UNAVAILABLE, "retry"),
            EngineErrorKind::Timeout => (StatusCode::GATEWAY_TIMEOUT, "timeout"),
            EngineErrorKind::Environment => (StatusCode::FAILED_DEPENDENCY, "environment"),
            EngineErrorKind::Failed => (StatusCode::INTERNAL_SERVER_ERROR, "failed"),
        };
        // The engine has no command line; what leads on is told here.
        let further = match error.names_debt() {
            true => "; see: podwalk debts",
            false => "",
        };
        Self::new(status, kind, format!("{error}{further}"))
    }
}

impl From<podwalk_engine::ports::JournalError> for Refused {
    fn from(error: podwalk_engine::ports::JournalError) -> Self {
        EngineError::from(error).into()
    }
}

type Answer<T> = Result<Json<T>, Refused>;

/// What is no route is told like any other error.
async fn no_such_route(method: Method, uri: Uri) -> Refused {
    no_route(StatusCode::NOT_FOUND, &method, &uri)
}

/// So is a route that does not take this method.
async fn no_such_method(method: Method, uri: Uri) -> Refused {
    no_route(StatusCode::METHOD_NOT_ALLOWED, &method, &uri)
}

fn no_route(status: StatusCode, method: &Method, uri: &Uri) -> Refused {
    let path: String = uri.path().chars().take(80).collect();
    let message = format!(
        "there is no {method} {path} (there are /v1/pods, /v1/debts, /v1/quarantine, /v1/orphans, \
         /v1/events, /v1/plan and /v1/version)"
    );
    Refused::new(status, "no-route", message)
}

/// What stands behind the question mark.
fn asked<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Refused> {
    match query {
        Ok(Query(query)) => Ok(query),
        Err(rejection) => Err(Refused::invalid(rejection.body_text())),
    }
}

async fn run(
    State(served): State<Arc<Served>>,
    body: Result<axum::body::Bytes, BytesRejection>,
) -> Answer<RunAnswer> {
    let body = body.map_err(|rejection| too_large(&rejection))?;
    let request: RunRequest = serde_json::from_slice(&body)
        .map_err(|error| Refused::invalid(format!("the request is not valid: {error}")))?;
    let mode = request.network.as_deref();
    let mode = mode
        .map(|text| network_mode(&served.engine, text))
        .transpose()?;
    let spec = request
        .config
        .into_spec(mode, request.runtime_handler)
        .map_err(|error| Refused::invalid(format!("the pod's spec is not valid: {error}")))?;
    let id = fresh_id(served.instance).map_err(|error| {
        let message = format!("the kernel gives no randomness: {error}");
        Refused::new(StatusCode::SERVICE_UNAVAILABLE, "retry", message)
    })?;
    let started = served.engine.start(id, spec).await?;
    Ok(Json(RunAnswer {
        id: started.id.to_string(),
        joined: started.joined,
    }))
}

/// What does not even fit into a request, told as a spec that is too large is.
fn too_large(rejection: &BytesRejection) -> Refused {
    Refused::invalid(match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => format!(
            "the request is larger than {MAX_BODY} bytes (make labels and annotations smaller)"
        ),
        _ => format!("the request could not be read: {}", rejection.body_text()),
    })
}

fn network_mode(engine: &Engine, text: &str) -> Result<NetworkMode, Refused> {
    match text {
        "cni" => Ok(NetworkMode::Cni),
        "none" => Ok(NetworkMode::None),
        "host" => Ok(NetworkMode::Host),
        other => match other.strip_prefix("pod:") {
            Some(owner) => Ok(NetworkMode::Pod(one(engine, owner)?.pod.id)),
            None => Err(Refused::invalid(format!(
                "unknown network mode '{}': cni, host, none or pod:ID",
                other.chars().take(60).collect::<String>()
            ))),
        },
    }
}

/// The one pod that a text means.
fn one(engine: &Engine, text: &str) -> Result<PodView, Refused> {
    // A name is given again when its first pod is stopped: what runs is meant.
    one_of(engine, text, |view| {
        view.pod.goal == Goal::Run && view.pod.exited.is_none()
    })
}

/// The one pod that a text means; of several, the only one that is so.
fn one_of(
    engine: &Engine,
    text: &str,
    is_meant: impl Fn(&PodView) -> bool,
) -> Result<PodView, Refused> {
    let mut found = engine.find(text);
    if found.iter().filter(|view| is_meant(view)).count() == 1 {
        found.retain(is_meant);
    }
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(no_pod(engine, text)),
        _ => {
            let ids: Vec<_> = found.iter().map(|view| view.pod.id.to_string()).collect();
            let message = format!("'{text}' means more than one pod: {}", ids.join(", "));
            Err(Refused::new(StatusCode::CONFLICT, "conflict", message))
        }
    }
}

/// There is none; or it is set aside, which is no reason to be silent of it.
fn no_pod(engine: &Engine, text: &str) -> Refused {
    let shown: String = text.chars().take(80).collect();
    let quarantined = engine.quarantined().into_iter();
    let mut meant =
        quarantined.filter(|(id, _)| !text.is_empty() && id.to_string().starts_with(text));
    let message = match meant.next() {
        None => format!("no pod '{shown}'"),
        Some((id, reason)) => format!(
            "no pod '{shown}': {id} is in quarantine, for it does not decode: {reason} (podwalk quarantine show {id})"
        ),
    };
    Refused::new(StatusCode::NOT_FOUND, "not-found", message)
}

/// A pod's network settings; a guest's are its owner's.
pub(crate) fn settings(engine: &Engine, view: &PodView) -> NetworkSettings {
    let owner = view.pod.owner().and_then(|owner| engine.get(owner));
    NetworkSettings::of(&view.pod, owner.as_ref().map(|owner| &*owner.pod))
}

#[derive(Deserialize)]
struct ListQuery {
    #[serde(default)]
    all: bool,
}

/// Pods that run or owe; all of them with `all`. A Remove that was answered
/// is in no list but the ledger.
async fn list(
    State(served): State<Arc<Served>>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Answer<Vec<PodSummary>> {
    let query = asked(query)?;
    let views = served.engine.list().into_iter();
    let views = views.map(|view| served.seen(view));
    let shown = views.filter(|view| {
        let removed = view.pod.outlived == Some(Goal::Remove);
        !removed && (query.all || view.ready || !view.pod.debts.is_empty())
    });
    Ok(Json(shown.map(|view| served.summary(&view)).collect()))
}

async fn inspect(State(served): State<Arc<Served>>, Path(pod): Path<String>) -> Answer<PodDetail> {
    let view = served.seen(one(&served.engine, &pod)?);
    let settings = settings(&served.engine, &view);
    Ok(Json(PodDetail::of(&view, settings)))
}

async fn stop(State(served): State<Arc<Served>>, Path(pod): Path<String>) -> Answer<RunAnswer> {
    let id = one(&served.engine, &pod)?.pod.id;
    served.engine.stop(id).await?;
    Ok(Json(acted_on(id)))
}

#[derive(Deserialize)]
struct RemoveQuery {
    #[serde(default)]
    force: bool,
}

async fn remove(
    State(served): State<Arc<Served>>,
    Path(pod): Path<String>,
    query: Result<Query<RemoveQuery>, QueryRejection>,
) -> Answer<RunAnswer> {
    let query = asked(query)?;
    let view = one(&served.engine, &pod)?;
    let id = view.pod.id;
    if view.pod.goal == Goal::Run && view.pod.exited.is_none() && !query.force {
        let message = format!("pod {id} runs: stop it first, or remove it with force (rm -f)");
        return Err(Refused::new(StatusCode::CONFLICT, "conflict", message));
    }
    served.engine.remove(id).await?;
    Ok(Json(acted_on(id)))
}

fn acted_on(id: podwalk_engine::id::PodId) -> RunAnswer {
    RunAnswer {
        id: id.to_string(),
        joined: false,
    }
}

/// Of a pod that is gone no records are kept: then there is none.
async fn journal(
    State(served): State<Arc<Served>>,
    Path(pod): Path<String>,
) -> Answer<Vec<JournalLine>> {
    let id = match pod.parse() {
        Ok(id) => id,
        Err(_) => one(&served.engine, &pod)?.pod.id,
    };
    let records = served.engine.records(id).await?;
    if records.is_empty() {
        let message = format!("no records of pod {id}");
        return Err(Refused::new(StatusCode::NOT_FOUND, "not-found", message));
    }
    Ok(Json(records.iter().map(JournalLine::of).collect()))
}

async fn plan(State(served): State<Arc<Served>>) -> Answer<PlanAnswer> {
    let plan = served.engine.plan().await?;
    Ok(Json(PlanAnswer::of(&plan)))
}

async fn version(State(served): State<Arc<Served>>) -> Json<VersionAnswer> {
    Json(VersionAnswer {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        instance: served.instance.to_string(),
    })
}

#[derive(Deserialize)]
struct EventsQuery {
    since: Option<String>,
}

async fn events(
    State(served): State<Arc<Served>>,
    query: Result<Query<EventsQuery>, QueryRejection>,
) -> Result<Response, Refused> {
    let query = asked(query)?;
    let since = query.since.as_deref().map(str::parse::<Cursor>).transpose();
    let since = since.map_err(|error| Refused::invalid(error.to_string()))?;
    let subscription = served.engine.subscribe(since);
    let gap = subscription.gap.then(|| EventLine {
        cursor: since.map(|cursor| cursor.to_string()).unwrap_or_default(),
        at: served.engine.now().wall_ns,
        event: "gap".to_owned(),
        detail: "older events are not known any more: list the pods anew".to_owned(),
        pod: None,
    });
    let known = futures_util::stream::iter(subscription.backlog).chain(subscription.live);
    let lines = known.map(move |event| event_line(&served, &event));
    let lines = futures_util::stream::iter(gap).chain(lines);
    let text = lines.map(|line| {
        let line = serde_json::to_string(&line).map_err(std::io::Error::other)?;
        Ok::<_, std::io::Error>(line + "\n")
    });
    let headers = [("content-type", "application/x-ndjson")];
    Ok((headers, Body::from_stream(text)).into_response())
}

fn event_line(served: &Served, event: &Event) -> EventLine {
    let view = served.seen(served.engine.view_after(event));
    EventLine {
        cursor: event.cursor.to_string(),
        at: event.stamp.wall_ns,
        event: event.what.to_owned(),
        detail: event.detail.clone(),
        pod: Some(served.summary(&view)),
    }
}
