//! The `podwalk` binary; see the library for what it does.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    podwalk::cli::Cli::parse().execute()
}
