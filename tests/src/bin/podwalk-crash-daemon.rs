//! The real daemon, with somebody listening at its crash points. See
//! [`podwalk_tests::crash`].
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

fn main() -> ExitCode {
    let points = podwalk_tests::crash::Points::from_environment();
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(false);
    let info = tracing_subscriber::filter::LevelFilter::INFO;
    tracing_subscriber::registry()
        .with(points)
        .with(tracing_subscriber::Layer::with_filter(lines, info))
        .init();
    podwalk::cli::Cli::parse().execute()
}
