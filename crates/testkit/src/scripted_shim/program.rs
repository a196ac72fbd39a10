//! The program's verbs: `start`, `delete`, `-v`.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use containerd_shim_protos::api::DeleteResponse;
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use rustix::process::{Signal, getpid, kill_process};
use serde_json::{Value, json};

use super::machine;
use super::serve::FLAG;
use super::{Act, Call, Installed, flag};
use crate::scripted_plugin::{print, sleep_for_ever};

/// How long its own second half may take to listen.
const LISTENS_WITHIN: Duration = Duration::from_secs(30);
/// The status of one that SIGKILL ended.
const KILLED: u32 = 128 + 9;

pub(super) fn call(shim: &Installed, arguments: &[String]) -> io::Result<ExitCode> {
    let verb = arguments.last().map(String::as_str).unwrap_or_default();
    if verb == "-v" {
        print(b"podwalk-scripted-shim:\n  Version:  1\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut stdin = Vec::new();
    io::stdin().read_to_end(&mut stdin)?;
    let options = Any::parse_from_bytes(&stdin).ok();
    let options = options.filter(|any| !any.type_url.is_empty());
    let call = Call {
        name: verb.to_owned(),
        pid: std::process::id(),
        id: flag(arguments, "-id").to_owned(),
        arguments: arguments.to_vec(),
        ..Call::default()
    }
    .with(options.as_ref());
    let act = shim.record(&call)?;
    std::thread::sleep(Duration::from_millis(act.delay_ms));
    if act.hang {
        sleep_for_ever();
    }
    if act.die {
        kill_process(getpid(), Signal::KILL)?;
    }
    if let Some(words) = act.fail {
        eprintln!("{words}");
        return Ok(ExitCode::FAILURE);
    }
    match verb {
        "start" => start(shim, arguments, &act)?,
        "delete" => delete(&std::env::current_dir()?)?,
        other => return Err(io::Error::other(format!("there is no verb {other:?}"))),
    }
    Ok(ExitCode::SUCCESS)
}

fn start(shim: &Installed, arguments: &[String], act: &Act) -> io::Result<()> {
    let script = shim.script()?;
    let id = flag(arguments, "-id");
    let config: Value = serde_json::from_slice(&std::fs::read("config.json")?)?;
    let annotation = |name: &str| {
        let value = config.pointer(&format!("/annotations/io.kubernetes.cri.{name}"));
        value.and_then(Value::as_str)
    };
    let grouped = annotation("container-type") == Some("container");
    let sandbox = annotation("sandbox-id").filter(|_| grouped).unwrap_or(id);
    let socket = shim.socket(sandbox);
    if UnixStream::connect(&socket).is_err() {
        leave_behind(shim, arguments, &socket)?;
    }
    let address = format!("unix://{}", socket.display());
    std::fs::write("address", &address)?;
    let answer = match (&act.print, script.json) {
        (Some(text), _) => text.clone(),
        (None, Some(version)) => {
            json!({"version": version, "address": address, "protocol": "ttrpc"}).to_string()
        }
        (None, None) => address,
    };
    print(answer.as_bytes())
}

/// Starts the process that serves, and waits until it does.
fn leave_behind(shim: &Installed, arguments: &[String], socket: &Path) -> io::Result<()> {
    let mut served = Command::new(&shim.path)
        .arg(FLAG)
        .args(arguments)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let started = Instant::now();
    while UnixStream::connect(socket).is_err() {
        if let Some(status) = served.try_wait()? {
            return Err(io::Error::other(format!("it does not serve: {status}")));
        }
        if started.elapsed() > LISTENS_WITHIN {
            return Err(io::Error::other("it does not listen"));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

fn delete(bundle: &Path) -> io::Result<()> {
    let pid = machine::end(bundle)?;
    let answer = DeleteResponse {
        pid: pid.unwrap_or_default(),
        exit_status: KILLED,
        ..Default::default()
    };
    let bytes = answer.write_to_bytes().map_err(io::Error::other)?;
    print(&bytes)
}
