//! `podwalk quarantine`: pods that do not decode.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use hyper::Method;

use super::{Exit, NO_SUCH_POD, Output, Reason, offline, show};
use crate::api::{DropAnswer, QuarantineDetail, QuarantineSummary};
use crate::client::{Client, escaped};
use crate::quarantine::{QuarantineError, one};

/// What `quarantine` takes.
#[derive(Debug, Clone, Args)]
pub(super) struct QuarantineArgs {
    #[command(subcommand)]
    action: Option<Action>,
    /// The state directory, if the daemon is down and nothing is dropped.
    #[arg(long, global = true, default_value = "/var/lib/podwalk")]
    state_dir: PathBuf,
}

#[derive(Debug, Clone, Subcommand)]
enum Action {
    /// Print a pod's records as they lie in the journal, byte for byte.
    Show {
        /// An id, a unique prefix of one, or a name if that can be read.
        pod: String,
    },
    /// Keep a pod's bytes in a file of the state directory, and take it out of
    /// the journal. What it has left on the host is nobody's then.
    Drop {
        /// An id, a unique prefix of one, or a name if that can be read.
        pod: String,
        #[command(flatten)]
        reason: Reason,
    },
}

pub(super) async fn quarantine(
    client: &Client,
    output: Output,
    args: QuarantineArgs,
) -> Result<(), Exit> {
    match args.action {
        None => list(client, output, &args.state_dir).await,
        Some(Action::Show { pod }) => show_one(client, output, &pod, &args.state_dir).await,
        Some(Action::Drop { pod, reason }) => drop_one(client, output, &pod, reason).await,
    }
}

async fn list(client: &Client, output: Output, state_dir: &Path) -> Result<(), Exit> {
    let listed = client.call::<Vec<QuarantineSummary>>(Method::GET, "/v1/quarantine", None);
    let pods = match listed.await {
        Err(error) if error.is_down() => {
            let list = offline::quarantine(state_dir)?;
            list.iter().map(QuarantineDetail::summary).collect()
        }
        listed => listed?,
    };
    match output {
        Output::Table => show::quarantine(&pods)?,
        Output::Json => show::json(&pods)?,
    }
    Ok(())
}

async fn show_one(
    client: &Client,
    output: Output,
    pod: &str,
    state_dir: &Path,
) -> Result<(), Exit> {
    let path = format!("/v1/quarantine/{}", escaped(pod));
    let shown = client.call::<QuarantineDetail>(Method::GET, &path, None);
    let detail = match shown.await {
        Err(error) if error.is_down() => one(offline::quarantine(state_dir)?, pod)?,
        shown => shown?,
    };
    match output {
        Output::Table => show::raw(&detail)?,
        Output::Json => show::json(&detail)?,
    }
    Ok(())
}

impl From<QuarantineError> for Exit {
    fn from(error: QuarantineError) -> Self {
        match error {
            QuarantineError::NoSuchPod(_) => Self {
                code: NO_SUCH_POD,
                message: error.to_string(),
            },
            other => anyhow::Error::from(other).into(),
        }
    }
}

async fn drop_one(client: &Client, output: Output, pod: &str, reason: Reason) -> Result<(), Exit> {
    let path = format!("/v1/quarantine/{}", escaped(pod));
    let body = Some(reason.body()?);
    let answer: DropAnswer = client.call(Method::DELETE, &path, body).await?;
    match output {
        Output::Table => show::dropped(&answer)?,
        Output::Json => show::json(&answer)?,
    }
    Ok(())
}
