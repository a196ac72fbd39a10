//! What bad input gets: an error with the words that an operator needs, nothing left behind, and a
//! daemon that goes on serving.
#![forbid(unsafe_code)]

use anyhow::{Context, Result, ensure};
use podwalk_tests::conflist::Bridge;
use podwalk_tests::daemon::{Answer, Client};
use podwalk_tests::scene;

mod configuration;
mod networks;
mod plugins;
mod rpcs;
mod runtimes;
mod socket;
mod specs;
mod state;

/// The network that works.
fn podnet() -> Bridge {
    Bridge::new("podnet", "10.88.0.0/24")
}

/// Expects that a command failed with this exit code and every one of these words on stderr.
fn refused(answer: &Answer, code: i32, words: &[&str]) -> Result<()> {
    ensure!(answer.code == code, "exit code {}: {answer:?}", answer.code);
    says(&answer.stderr, words)
}

/// Expects every one of these words in a text.
fn says(text: &str, words: &[&str]) -> Result<()> {
    for word in words {
        ensure!(text.contains(word), "no {word:?} in: {text}");
    }
    Ok(())
}

/// Expects that a daemon still does its work: a pod goes all the way up and down.
fn still_serves(client: &Client) -> Result<()> {
    let id = client
        .run(&["--name", "still-serves"])
        .context("a good pod, afterwards")?;
    scene::agrees_with_outside(&client.inspect(&id)?)?;
    client.stop(&id)?;
    client.remove(&id)
}
