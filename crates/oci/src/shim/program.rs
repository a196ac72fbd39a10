//! The shim's program: `start`, `delete`, `-v`.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use containerd_shim_protos::protobuf::Message;

use super::ShimRuntime;
use super::answer::{Bootstrap, parse};
use super::place::MARK;
use crate::command::{Answer, Call, Setting};
use crate::error::{OciError, Verb};
use crate::id::SandboxId;
use crate::point;

/// What a shim may call to publish an event. Ours are sent by ttrpc, so this does nothing; but
/// some shims check that it is given.
const PUBLISHER: &str = "/bin/true";
/// The newest version of `start`'s answer that is understood.
const MAX_VERSION: &str = "3";

impl ShimRuntime {
    /// Calls `start` for a container, and reads its answer. All that it leaves behind carries the
    /// mark of the sandbox.
    pub(super) async fn start_shim(
        &self,
        binary: &Path,
        sandbox: &SandboxId,
        container: &SandboxId,
        bundle: &Path,
    ) -> Result<Bootstrap, OciError> {
        let options = self.settings.options.message(&self.handler.root);
        // Encoding fails only when memory does.
        let options = options.map(|any| any.write_to_bytes().unwrap_or_default());
        let mut environment = self.environment();
        environment.push((MARK, sandbox.as_str().into()));
        let mut args = self.arguments(container);
        args.push("start".into());
        let call = Call {
            binary,
            verb: Verb::Start,
            // The effect is the sandbox's.
            id: sandbox.as_str(),
            args: args.iter().map(OsString::as_os_str).collect(),
            deadline: self.handler.deadlines.create,
            listen: true,
            spawned: "shim.start.spawned",
            setting: Setting {
                directory: bundle,
                environment,
                input: options.as_deref(),
                without: self.settings.effect_variable.as_deref(),
            },
        };
        let answer = self.succeed(call).await?;
        point::reached("shim.start.answered");
        parse(&answer.stdout).map_err(|why| OciError::Answer {
            binary: binary.to_owned(),
            verb: Verb::Start,
            id: container.to_string(),
            why,
        })
    }

    /// Calls `delete`, which cleans up after a shim that is gone.
    pub(super) async fn delete_leftovers(
        &self,
        binary: &Path,
        id: &SandboxId,
        bundle: &Path,
    ) -> Result<(), OciError> {
        let mut args = self.arguments(id);
        args.extend(["-bundle".into(), bundle.into(), "delete".into()]);
        let call = Call {
            binary,
            verb: Verb::Delete,
            id: id.as_str(),
            args: args.iter().map(OsString::as_os_str).collect(),
            deadline: self.handler.deadlines.delete,
            listen: true,
            spawned: "shim.delete.spawned",
            setting: Setting {
                directory: bundle,
                environment: self.environment(),
                ..Setting::default()
            },
        };
        self.succeed(call).await.map(|_answer| ())
    }

    /// What `-v` says: a name, and the version in the next line.
    pub(super) async fn version_line(&self, binary: &Path) -> Result<String, OciError> {
        let call = Call {
            binary,
            verb: Verb::Version,
            id: "",
            args: vec![OsStr::new("-v")],
            deadline: self.handler.deadlines.query,
            listen: true,
            spawned: "shim.version.spawned",
            setting: Setting::default(),
        };
        let answer = match self.succeed(call).await {
            Ok(answer) => String::from_utf8_lossy(&answer.stdout).into_owned(),
            // One that does not know the flag.
            Err(OciError::Failed { .. } | OciError::Deadline { .. }) => String::new(),
            Err(error) => return Err(error),
        };
        Ok(version(&answer).unwrap_or_else(|| binary.display().to_string()))
    }

    fn arguments(&self, id: &SandboxId) -> Vec<OsString> {
        let mut args = self.handler.global_args.clone();
        let flags: [&OsStr; 8] = [
            "-namespace".as_ref(),
            self.settings.namespace.as_ref(),
            "-address".as_ref(),
            self.settings.events.as_os_str(),
            "-publish-binary".as_ref(),
            PUBLISHER.as_ref(),
            "-id".as_ref(),
            id.as_str().as_ref(),
        ];
        args.extend(flags.map(OsStr::to_owned));
        args
    }

    fn environment(&self) -> Vec<(&'static str, OsString)> {
        let events = self.settings.events.clone().into_os_string();
        vec![
            ("TTRPC_ADDRESS", events),
            ("NAMESPACE", self.settings.namespace.clone().into()),
            ("MAX_SHIM_VERSION", MAX_VERSION.into()),
        ]
    }

    /// Runs a call that must succeed.
    async fn succeed(&self, call: Call<'_>) -> Result<Answer, OciError> {
        let (binary, verb, id) = (call.binary, call.verb, call.id);
        let answer = call.run(&*self.spawn).await?;
        if answer.exit.success() {
            return Ok(answer);
        }
        Err(OciError::Failed {
            binary: binary.to_owned(),
            verb,
            id: id.to_owned(),
            exit: answer.exit,
            message: answer.message,
        })
    }
}

/// The name in the first line, and the version, which has a line of its own in some.
fn version(text: &str) -> Option<String> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next()?;
    let version = lines.find_map(|line| line.strip_prefix("Version:"));
    Some(match version {
        Some(version) => format!("{} {}", first.trim_end_matches(':'), version.trim()),
        None => first.to_owned(),
    })
}

#[cfg(test)]
mod tests;
