//! The client commands.

use std::io::{ErrorKind, Write};
use std::path::Path;

use anyhow::Context;
use http_body_util::BodyExt;
use hyper::Method;
use serde_json::Value;

use super::{Exit, FAILED, NO_SUCH_POD, Output, offline, show};
use crate::api::{EventLine, JournalLine, PlanAnswer, PodSummary, RunAnswer};
use crate::client::{Client, ClientError, escaped};

pub(super) async fn ps(client: &Client, output: Output, all: bool) -> Result<(), Exit> {
    let path = format!("/v1/pods?all={all}");
    let pods: Vec<PodSummary> = client.call(Method::GET, &path, None).await?;
    match output {
        Output::Table => show::pods(&pods)?,
        Output::Json => show::json(&pods)?,
    }
    Ok(())
}

pub(super) async fn inspect(client: &Client, pod: &str) -> Result<(), Exit> {
    let path = format!("/v1/pods/{}", escaped(pod));
    let detail: Value = client.call(Method::GET, &path, None).await?;
    Ok(show::json(&detail)?)
}

pub(super) async fn stop(client: &Client, pods: &[String]) -> Result<(), Exit> {
    let mut end = End::default();
    for pod in pods {
        let path = format!("/v1/pods/{}/stop", escaped(pod));
        let answer = client.call::<RunAnswer>(Method::POST, &path, None).await;
        end.note(pod, answer)?;
    }
    end.exit()
}

pub(super) async fn rm(client: &Client, force: bool, pods: &[String]) -> Result<(), Exit> {
    let mut end = End::default();
    for pod in pods {
        let path = format!("/v1/pods/{}?force={force}", escaped(pod));
        let answer = client.call::<RunAnswer>(Method::DELETE, &path, None).await;
        match answer {
            Err(ClientError::Refused(refused)) if force && refused.kind == "not-found" => {}
            answer => end.note(pod, answer)?,
        }
    }
    end.exit()
}

/// How an action on several pods ended: one that fails does not hold the
/// others.
#[derive(Default)]
struct End {
    worst: Option<u8>,
}

impl End {
    /// Prints how it went for one pod; without a daemon there is no next one.
    fn note(&mut self, pod: &str, answer: Result<RunAnswer, ClientError>) -> Result<(), Exit> {
        match answer {
            Ok(answer) => show::say(answer.id)?,
            Err(error @ ClientError::NoDaemon { .. }) => return Err(error.into()),
            Err(error) => {
                let exit = Exit::from(error);
                eprintln!("podwalk: {pod}: {}", exit.message);
                let worst = self.worst.unwrap_or(exit.code);
                self.worst = Some(if worst == NO_SUCH_POD {
                    exit.code
                } else {
                    worst
                });
            }
        }
        Ok(())
    }

    fn exit(self) -> Result<(), Exit> {
        match self.worst {
            None => Ok(()),
            Some(code) => Err(Exit {
                code,
                message: "not everything was done".to_owned(),
            }),
        }
    }
}

pub(super) async fn events(
    client: &Client,
    output: Output,
    since: Option<String>,
) -> Result<(), Exit> {
    let path = match since {
        None => "/v1/events".to_owned(),
        Some(cursor) => format!("/v1/events?since={}", escaped(&cursor)),
    };
    let mut body = client.send(Method::GET, &path, None).await?.into_body();
    let mut open = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.context("the connection to the daemon broke")?;
        if let Some(data) = frame.data_ref() {
            open.extend_from_slice(data);
        }
        while let Some(end) = open.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = open.drain(..=end).collect();
            let line = match output {
                Output::Json => line,
                Output::Table => readable(&line)?.into_bytes(),
            };
            match std::io::stdout().write_all(&line) {
                // Who read has read enough.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
                written => written.context("standard output cannot be written")?,
            }
        }
    }
    Err(Exit {
        code: FAILED,
        message: "the daemon has ended the stream; go on with --since and the last cursor"
            .to_owned(),
    })
}

fn readable(line: &[u8]) -> anyhow::Result<String> {
    let event: EventLine = serde_json::from_slice(line).context("an event cannot be read")?;
    Ok(show::event(&event))
}

pub(super) async fn journal(
    client: &Client,
    output: Output,
    pod: &str,
    state_dir: &Path,
) -> Result<(), Exit> {
    let path = format!("/v1/pods/{}/journal", escaped(pod));
    let lines = client
        .call::<Vec<JournalLine>>(Method::GET, &path, None)
        .await;
    let lines = match lines {
        Err(error) if error.is_down() => offline::journal(state_dir, pod)?,
        lines => lines?,
    };
    match output {
        Output::Table => show::journal(&lines)?,
        Output::Json => show::json(&lines)?,
    }
    Ok(())
}

pub(super) async fn plan(client: &Client, output: Output, state_dir: &Path) -> Result<(), Exit> {
    let plan = client
        .call::<PlanAnswer>(Method::GET, "/v1/plan", None)
        .await;
    let plan = match plan {
        Err(error) if error.is_down() => offline::plan(state_dir)?,
        plan => plan?,
    };
    match output {
        Output::Table => show::plan(&plan)?,
        Output::Json => show::json(&plan)?,
    }
    Ok(())
}
