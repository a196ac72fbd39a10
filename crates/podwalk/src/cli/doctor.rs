//! `podwalk doctor`: what stands in a pod's way, with what to do about it.

use hyper::Method;

use super::{Exit, FAILED, Output, offline, show};
use crate::api::PodSummary;
use crate::client::Client;
use crate::doctor::{Patient, examine};
use crate::serve::ServeArgs;

/// Looks at the configuration that the daemon would be started with now.
pub(super) async fn doctor(client: &Client, output: Output, args: &ServeArgs) -> Result<(), Exit> {
    let config = args.configuration()?;
    let listed = client
        .call::<Vec<PodSummary>>(Method::GET, "/v1/pods?all=true", None)
        .await;
    let pods = match listed {
        Err(error) if error.is_down() => offline::patients(&config.state_dir)?,
        listed => listed?.into_iter().map(patient).collect(),
    };
    let findings = examine(&config, &pods).await?;
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
