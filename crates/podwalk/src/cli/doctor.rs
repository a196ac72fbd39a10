//! `podwalk doctor`: what stands in a pod's way, with what to do about it.

use clap::Args;
use hyper::Method;

use super::{Exit, FAILED, Output, offline, show};
use crate::api::{Orphan, PodSummary};
use crate::client::Client;
use crate::doctor::{Finding, Patient, examine, of_orphans};
use crate::serve::ServeArgs;

/// What `doctor` takes.
#[derive(Debug, Clone, Args)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    serve: ServeArgs,
    /// Have the daemon remove namespace files of its own that are no pod's and in which nobody
    /// lives. Nothing else is changed.
    #[arg(long)]
    fix: bool,
}

/// Looks at the configuration that the daemon would be started with now, and at what the daemon that
/// runs has left on the host.
pub(super) async fn doctor(client: &Client, output: Output, args: &DoctorArgs) -> Result<(), Exit> {
    let config = args.serve.configuration()?;
    let listed = client
        .call::<Vec<PodSummary>>(Method::GET, "/v1/pods?all=true", None)
        .await;
    let pods = match listed {
        Err(error) if error.is_down() => offline::patients(&config.state_dir)?,
        listed => listed?.into_iter().map(patient).collect(),
    };
    let mut findings = examine(&config, &pods).await?;
    let method = match args.fix {
        true => Method::DELETE,
        false => Method::GET,
    };
    let orphans = client
        .call::<Vec<Orphan>>(method, "/v1/orphans", None)
        .await;
    findings.extend(match orphans {
        // Only who has the journal open knows whose a file is.
        Err(error) if error.is_down() && !args.fix => vec![Finding::unseen_orphans()],
        Err(error) => vec![Finding::unsought_orphans(&error)],
        Ok(orphans) => of_orphans(&orphans),
    });
    match output {
        Output::Table => show::findings(&findings)?,
        Output::Json => show::json(&findings)?,
    }
    match findings.iter().filter(|finding| !finding.ok).count() {
        0 => Ok(()),
        wrong => Err(Exit {
            code: FAILED,
            message: format!("{wrong} of {} findings need something done", findings.len()),
        }),
    }
}

fn patient(pod: PodSummary) -> Patient {
    Patient {
        id: pod.id,
        name: pod.name,
        handler: pod.runtime_handler,
    }
}
