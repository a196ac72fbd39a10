//! One program, started in its cgroup.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use podwalk_process::{Command, Spawned, Stdio};
use rustix::io::fcntl_dupfd_cloexec;

use super::ENVIRONMENT;
use super::group::Entrance;
use crate::sys::{self, Image, Place, Refused};

/// The lowest descriptor that is not one of the three.
const ABOVE_STDIO: i32 = 3;

/// Executes `command`, with the pod's name in its environment, in the cgroup behind `entrance`.
pub(super) fn launch(
    pod: &str,
    command: &Command<'_>,
    stdio: Stdio<'_>,
    entrance: Option<&Entrance>,
) -> Result<Spawned, Refused> {
    let place = match entrance {
        None => Place::Parents,
        Some(Entrance::File(file)) => Place::Joined(file.as_fd()),
        Some(Entrance::Directory(directory)) => Place::Born(directory.as_fd()),
    };
    let image = image(pod, command).map_err(Refused::Start)?;
    // One that is among the three would be overwritten by another before it is put in its place.
    let kept = |end| {
        let kept = fcntl_dupfd_cloexec(end, ABOVE_STDIO);
        kept.map_err(|errno| Refused::Start(errno.into()))
    };
    let (input, output) = (kept(stdio.input)?, kept(stdio.output)?);
    let errors = kept(stdio.errors)?;
    let stdio = [&input, &output, &errors].map(OwnedFd::as_fd);
    let (pid, pidfd) = sys::execute(&image, stdio, place)?;
    Ok(Spawned {
        pid: pid.as_raw().unsigned_abs(),
        pidfd,
    })
}

fn image(pod: &str, command: &Command<'_>) -> io::Result<Image> {
    let own_name = [command.program.as_os_str()];
    let arguments = own_name.iter().chain(&command.arguments);
    let variables = command.environment.iter();
    let variables = variables.map(|(name, value)| variable(name, value));
    let environment = variables.chain([variable(ENVIRONMENT, OsStr::new(pod))]);
    Ok(Image {
        program: string(command.program.as_os_str().as_bytes())?,
        arguments: arguments
            .map(|text| string(text.as_bytes()))
            .collect::<io::Result<_>>()?,
        environment: environment.collect::<io::Result<_>>()?,
        directory: string(command.directory.as_os_str().as_bytes())?,
    })
}

fn variable(name: &str, value: &OsStr) -> io::Result<CString> {
    string([name.as_bytes(), b"=", value.as_bytes()].concat())
}

/// As execve(2) takes it: without a NUL.
fn string(text: impl Into<Vec<u8>>) -> io::Result<CString> {
    CString::new(text).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}
