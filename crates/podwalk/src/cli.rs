//! The command line: what can be typed, and how its end becomes an exit code.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::api::ReasonRequest;
use crate::client::{Client, ClientError};
use crate::serve::ServeArgs;

mod commands;
mod debts;
mod doctor;
mod offline;
mod progress;
mod quarantine;
mod run;
mod show;

/// Done.
const DONE: u8 = 0;
/// It did not work.
const FAILED: u8 = 1;
/// It was asked for wrongly.
const USAGE: u8 = 2;
/// There is no such pod.
const NO_SUCH_POD: u8 = 3;
/// No daemon answers.
const NO_DAEMON: u8 = 4;

/// Starts pods: the network first, then the sandbox, and every step journalled.
///
/// Exit codes: 0 done, 1 failed, 2 usage, 3 no such pod, 4 no daemon.
#[derive(Debug, Parser)]
#[command(name = "podwalk", version, about, long_about = None)]
pub struct Cli {
    /// The daemon's socket.
    #[arg(
        long,
        global = true,
        env = "PODWALK_ADDRESS",
        default_value = "/run/podwalk/podwalk.sock"
    )]
    address: PathBuf,
    /// Tables for people, JSON for programs.
    #[arg(long, short, global = true, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

/// How a command prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon.
    Serve(Box<ServeArgs>),
    /// Start a pod, and print its id.
    Run(Box<run::RunArgs>),
    /// List pods that run or owe.
    Ps {
        /// List all pods, also those that are stopped or on their way.
        #[arg(short, long)]
        all: bool,
    },
    /// Show all of a pod, as JSON.
    Inspect {
        /// An id, a unique prefix of one, or a name.
        pod: String,
    },
    /// Stop pods: the sandbox dies, CNI lets go, the namespace is unmounted.
    Stop {
        /// Ids, unique prefixes of ids, or names.
        #[arg(required = true)]
        pods: Vec<String>,
    },
    /// Remove stopped pods.
    Rm {
        /// Stop them first; a pod that is not there is removed already.
        #[arg(short, long)]
        force: bool,
        /// Ids, unique prefixes of ids, or names.
        #[arg(required = true)]
        pods: Vec<String>,
    },
    /// Print events as they come.
    Events {
        /// Begin after this cursor, taken from an event.
        #[arg(long)]
        since: Option<String>,
    },
    /// Print a pod's records; of a daemon that is down, from a copy.
    Journal {
        /// An id, a unique prefix of one, or a name.
        pod: String,
        /// The state directory, if the daemon is down.
        #[arg(long, default_value = "/var/lib/podwalk")]
        state_dir: PathBuf,
    },
    /// Print what recovery would do, without doing it.
    Plan {
        /// The state directory, if the daemon is down.
        #[arg(long, default_value = "/var/lib/podwalk")]
        state_dir: PathBuf,
    },
    /// Look at handlers, networks and plugins, at pods whose handler is not configured, and for
    /// namespace files of this daemon that are no pod's. Exit code 1 if anything is wrong.
    Doctor(Box<doctor::DoctorArgs>),
    /// List what could not be undone; pay it, or write it off.
    Debts(debts::DebtsArgs),
    /// List pods that do not decode; show or drop one.
    Quarantine(quarantine::QuarantineArgs),
}

/// An error with the exit code that goes with it.
#[derive(Debug)]
struct Exit {
    code: u8,
    message: String,
}

/// An operator's words: `--reason`.
#[derive(Debug, Clone, Args)]
struct Reason {
    /// Why, in one line; it is recorded.
    #[arg(long, value_name = "TEXT", value_parser = said)]
    reason: String,
}

fn said(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("it is empty: say why, for those who ask later".to_owned()),
        text => Ok(text.to_owned()),
    }
}

impl Reason {
    /// As it goes over the socket.
    fn body(self) -> anyhow::Result<Vec<u8>> {
        let request = ReasonRequest {
            reason: self.reason,
        };
        serde_json::to_vec(&request).context("the request cannot be written")
    }
}

impl From<ClientError> for Exit {
    fn from(error: ClientError) -> Self {
        let code = match &error {
            ClientError::NoDaemon { .. } => NO_DAEMON,
            ClientError::Refused(answer) if answer.kind == "not-found" => NO_SUCH_POD,
            ClientError::Refused(_) | ClientError::Broken { .. } => FAILED,
        };
        Self {
            code,
            message: error.to_string(),
        }
    }
}

impl From<anyhow::Error> for Exit {
    fn from(error: anyhow::Error) -> Self {
        Self {
            code: FAILED,
            message: format!("{error:#}"),
        }
    }
}

impl Cli {
    /// Does what was typed.
    pub fn execute(self) -> ExitCode {
        let runtime = match tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
        {
            Ok(runtime) => runtime,
            Err(error) => {
                eprintln!("podwalk: threads cannot be started: {error}");
                return ExitCode::from(FAILED);
            }
        };
        let end = runtime.block_on(self.dispatch());
        // What still blocks must not hold the process.
        runtime.shutdown_background();
        match end {
            Ok(()) => ExitCode::from(DONE),
            Err(exit) => {
                eprintln!("podwalk: {}", exit.message);
                ExitCode::from(exit.code)
            }
        }
    }

    async fn dispatch(self) -> Result<(), Exit> {
        let client = Client::new(self.address);
        let output = self.output;
        match self.command {
            Command::Serve(args) => Ok(crate::serve::serve(*args).await?),
            Command::Run(args) => run::run(&client, output, *args).await,
            Command::Ps { all } => commands::ps(&client, output, all).await,
            Command::Inspect { pod } => commands::inspect(&client, &pod).await,
            Command::Stop { pods } => commands::stop(&client, &pods).await,
            Command::Rm { force, pods } => commands::rm(&client, force, &pods).await,
            Command::Events { since } => commands::events(&client, output, since).await,
            Command::Journal { pod, state_dir } => {
                commands::journal(&client, output, &pod, &state_dir).await
            }
            Command::Plan { state_dir } => commands::plan(&client, output, &state_dir).await,
            Command::Doctor(args) => doctor::doctor(&client, output, &args).await,
            Command::Debts(args) => debts::debts(&client, output, args).await,
            Command::Quarantine(args) => quarantine::quarantine(&client, output, args).await,
        }
    }
}

#[cfg(test)]
mod tests;
