//! `podwalk debts`: the ledger.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use hyper::Method;

use super::{Exit, Output, Reason, offline, show};
use crate::api::{DebtLine, ForgiveAnswer, PayAnswer};
use crate::client::{Client, escaped};

/// What `debts` takes.
#[derive(Debug, Clone, Args)]
pub(super) struct DebtsArgs {
    #[command(subcommand)]
    action: Option<Action>,
    /// The state directory, if the daemon is down and debts are listed.
    #[arg(long, default_value = "/var/lib/podwalk")]
    state_dir: PathBuf,
}

#[derive(Debug, Clone, Subcommand)]
enum Action {
    /// Try at once to undo what a pod owes, and wait for the end of that.
    Pay {
        /// An id, a unique prefix of one, or a name.
        pod: String,
    },
    /// Write off what a pod owes for its network: nobody tries to undo that any
    /// more. What lies under it is undone; ports and the name are free.
    Forgive {
        /// An id, a unique prefix of one, or a name.
        pod: String,
        #[command(flatten)]
        reason: Reason,
    },
}

pub(super) async fn debts(client: &Client, output: Output, args: DebtsArgs) -> Result<(), Exit> {
    match args.action {
        None => list(client, output, args.state_dir).await,
        Some(Action::Pay { pod }) => pay(client, output, &pod).await,
        Some(Action::Forgive { pod, reason }) => forgive(client, output, &pod, reason).await,
    }
}

async fn list(client: &Client, output: Output, state_dir: PathBuf) -> Result<(), Exit> {
    let listed = client.call::<Vec<DebtLine>>(Method::GET, "/v1/debts", None);
    let debts = match listed.await {
        Err(error) if error.is_down() => offline::debts(&state_dir)?,
        listed => listed?,
    };
    match output {
        Output::Table => show::debts(&debts)?,
        Output::Json => show::json(&debts)?,
    }
    Ok(())
}

async fn pay(client: &Client, output: Output, pod: &str) -> Result<(), Exit> {
    let path = format!("/v1/pods/{}/debts/pay", escaped(pod));
    let paid: PayAnswer = client.call(Method::POST, &path, None).await?;
    match output {
        Output::Table => show::say(paid.id)?,
        Output::Json => show::json(&paid)?,
    }
    Ok(())
}

async fn forgive(client: &Client, output: Output, pod: &str, reason: Reason) -> Result<(), Exit> {
    let path = format!("/v1/pods/{}/debts/forgive", escaped(pod));
    let body = Some(reason.body()?);
    let answer: ForgiveAnswer = client.call(Method::POST, &path, body).await?;
    match output {
        Output::Table => show::forgiven(&answer)?,
        Output::Json => show::json(&answer)?,
    }
    Ok(())
}
