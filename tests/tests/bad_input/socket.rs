//! The socket: stale, taken, or full of garbage.

use std::fs;
use std::io::Write;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};

use anyhow::{Context, Result, ensure};
use podwalk_tests::daemon::Config;
use podwalk_tests::node::{self, Layout};
use podwalk_tests::raw;
use podwalk_tests::scene::{End, Scene};

use crate::configuration::fails_to_start;
use crate::{podnet, says, still_serves};

#[test]
fn a_stale_one_is_replaced() -> Result<()> {
    node::run(Layout::V2, || {
        let config = Config::default();
        fs::create_dir_all(&config.run_dir)?;
        drop(UnixListener::bind(config.socket())?);
        let gone = config.client().call(["ps"])?;
        ensure!(gone.code == 4, "{gone:?}");
        says(
            &gone.stderr,
            &["podwalk.sock", "podwalk serve", "--address"],
        )?;
        // Also the one that a killed daemon leaves.
        let scene = Scene::open_with(&config, &[podnet()])?.restart(End::Kill)?;
        still_serves(&scene.client())?;
        scene.close()
    })
}

#[test]
fn what_is_no_socket_is_left_alone() -> Result<()> {
    node::run(Layout::V2, || {
        let config = Config::default();
        fs::create_dir_all(&config.run_dir)?;
        fs::write(config.socket(), "precious")?;
        let log = fails_to_start(&config)?;
        says(&log, &["podwalk.sock", "not a socket", "remove it"])?;
        ensure!(fs::read_to_string(config.socket())? == "precious");
        fs::remove_file(config.socket())?;
        let scene = Scene::open_with(&config, &[podnet()])?;
        still_serves(&scene.client())?;
        scene.close()
    })
}

#[test]
fn scenario_28_a_second_daemon_is_refused_and_names_the_holder() -> Result<()> {
    node::run(Layout::V2, || {
        let scene = Scene::open(&[podnet()])?;
        let id = scene.client().run(&["--name", "web"])?;
        let pid = format!("pid {}", scene.daemon().pid());
        // On the same state directory, with a socket of its own.
        let mut second = Config::named("second");
        second.state_dir = scene.daemon().config().state_dir.clone();
        let log = fails_to_start_beside(&second)?;
        says(
            &log,
            &["journal/lock", "in use by", &pid, "another state directory"],
        )?;
        ensure!(!second.socket().exists());
        // On the same socket, with a state directory of its own.
        let mut second = Config::named("second");
        second.run_dir = scene.daemon().config().run_dir.clone();
        let log = fails_to_start_beside(&second)?;
        says(
            &log,
            &["another daemon answers", "podwalk.sock", "--listen"],
        )?;
        // The first one has not noticed.
        ensure!(scene.client().inspect(&id)?["ready"] == true);
        scene.client().call(["rm", "-f", &id])?.done()?;
        still_serves(&scene.client())?;
        scene.close()
    })
}

/// As [`fails_to_start`], with a log that is not the running daemon's.
fn fails_to_start_beside(config: &Config) -> Result<String> {
    let mut command = config.command()?;
    let ran = command.output().context("podwalk serve")?;
    ensure!(ran.status.code() == Some(1), "{}", ran.status);
    Ok(String::from_utf8_lossy(&ran.stderr).into_owned())
}

#[test]
fn garbage_is_answered_or_dropped_and_nobody_else_notices() -> Result<()> {
    node::run(Layout::V2, || {
        let scene = Scene::open(&[podnet()])?;
        let client = scene.client();
        let socket = client.address();
        // One that never ends its request stays open all the while.
        let mut slow = UnixStream::connect(socket)?;
        slow.write_all(b"GET /v1/pods HTTP/1.1\r\nhost:")?;
        let header = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(1 << 20));
        let garbage: [&[u8]; 7] = [
            b"",
            b"\0\xff\xfe garbage\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            b"POST /v1/pods HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999\r\n\r\n",
            b"POST /v1/pods HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
            header.as_bytes(),
        ];
        for bytes in garbage {
            let answer = raw::send(socket, bytes)?;
            ensure!(!answer.contains(" 200 "), "{bytes:?}: {answer}");
        }
        for (method, path, body, status) in [
            ("POST", "/v1/pods", "{", 400),
            ("POST", "/v1/pods", "\u{0}", 400),
            ("GET", "/v2/pods", "", 404),
            ("PUT", "/v1/pods", "", 405),
            ("GET", "/v1/pods?all=maybe", "", 400),
            ("GET", "/v1/pods/%ff%fe", "", 400),
            ("GET", "/v1/events?since=yesterday", "", 400),
        ] {
            let answer = raw::request(socket, method, path, body)?;
            ensure!(answer.0 == status, "{method} {path}: {answer:?}");
        }
        still_serves(&client)?;
        drop(slow);
        ensure!(fs::metadata(socket)?.file_type().is_socket());
        scene.close()
    })
}
