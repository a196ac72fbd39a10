//! One plugin called once.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

use podwalk_process::{Command, Cut, Exit, Job, NotSpawned, OUTPUT_LIMIT, run};
use serde_json::Value;

use super::{Runtime, is_namespace};
use crate::attachment::Attachment;
use crate::conflist::{Conflist, Plugin};
use crate::error::{CniError, Failure, Verb};
use crate::invocation::{Addition, configuration, environment};
use crate::locate::locate;
use crate::points;
use crate::result::ResultError;

/// A plugin, and what it is given.
pub(super) struct Call<'a> {
    pub(super) verb: Verb,
    pub(super) network: &'a str,
    pub(super) plugin: &'a str,
    pub(super) attachment: Option<&'a Attachment>,
    pub(super) config: Vec<u8>,
}

/// What a plugin that ended well has said.
pub(super) struct Answer {
    pub(super) stdout: Vec<u8>,
    stderr: String,
    binary: PathBuf,
}

impl Answer {
    /// The error for an answer that cannot be read.
    pub(super) fn unreadable(&self, call: &Call<'_>, reason: ResultError) -> CniError {
        let head = head(&self.stdout);
        CniError::new(call.verb, call.network, Failure::Garbage { reason, head })
            .of_plugin(call.plugin, Some(&self.binary))
            .with_stderr(self.stderr.clone())
    }
}

impl<'a> Call<'a> {
    pub(super) fn of(
        verb: Verb,
        conflist: &'a Conflist,
        plugin: &'a Plugin,
        addition: Addition<'a>,
    ) -> Self {
        Call {
            verb,
            network: conflist.name(),
            plugin: plugin.kind(),
            attachment: addition.attachment,
            config: configuration(conflist, plugin, &addition),
        }
    }

    /// The namespace that the plugin is told of. DEL is told of none when there is none.
    fn netns(&self) -> Option<&'a Path> {
        let path = self.attachment?.netns.as_deref()?;
        match self.verb {
            Verb::Del => is_namespace(path).unwrap_or(false).then_some(path),
            _ => Some(path),
        }
    }
}

impl Runtime {
    /// Calls one plugin. It runs in our own (the host's) network namespace.
    pub(super) async fn call(&self, call: &Call<'_>) -> Result<Answer, CniError> {
        let error = |failure| CniError::new(call.verb, call.network, failure);
        let search = &self.options.search;
        let binary = locate(call.plugin, search).map_err(|(binary, failure)| {
            error(failure).of_plugin(call.plugin, binary.as_deref())
        })?;
        let container_id = call.attachment.map_or("", |a| a.container_id.as_str());
        let command = Command {
            program: &binary,
            arguments: Vec::new(),
            environment: environment(call.verb, call.attachment, call.netns(), search),
            directory: Path::new("/"),
        };
        let job = Job::new(command, container_id, self.options.plugin_deadline);
        let observe = |moment| points::of_process(call.verb, moment);
        points::spawning(call.verb);
        let ended = run(&*self.options.spawn, job.input(&call.config), &observe).await;
        let judged = match ended {
            Ok(exit) => judge(exit),
            Err(cut) => Err(self.explain(cut)),
        };
        match judged {
            Ok((stdout, stderr)) => {
                tracing::debug!(verb = %call.verb, plugin = call.plugin, stderr, "plugin done");
                Ok(Answer {
                    stdout,
                    stderr,
                    binary,
                })
            }
            Err((failure, stderr)) => Err(error(failure)
                .of_plugin(call.plugin, Some(&binary))
                .with_stderr(stderr)),
        }
    }

    fn explain(&self, cut: Cut) -> (Failure, String) {
        match cut {
            Cut::NotStarted(NotSpawned::Execute(source)) => (not_started(source), String::new()),
            Cut::NotStarted(NotSpawned::Enlist(source)) => (Failure::Enlist(source), String::new()),
            Cut::Pipe { error, stderr } => (Failure::Process(error), stderr),
            Cut::Deadline { survivors, stderr } => {
                let after = self.options.plugin_deadline;
                (Failure::Deadline { after, survivors }, stderr)
            }
            Cut::TooMuchOutput { stderr } => {
                let limit = OUTPUT_LIMIT;
                (Failure::TooMuchOutput { limit }, stderr)
            }
        }
    }
}

fn not_started(source: std::io::Error) -> Failure {
    use rustix::io::Errno;
    match source.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::ACCESS) => Failure::NotExecutable,
        Some(Errno::NOEXEC) => Failure::WrongFormat {
            found: "the kernel does not know its format".to_owned(),
        },
        // The binary was there a moment ago: what is missing is the interpreter it names.
        Some(Errno::NOENT) => Failure::WrongFormat {
            found: "the interpreter or loader it names does not exist".to_owned(),
        },
        _ => Failure::NotStarted(source),
    }
}

/// What stdout and stderr hold after success, or how the plugin failed, with its last words.
fn judge(exit: Exit) -> Result<(Vec<u8>, String), (Failure, String)> {
    if let Some(signal) = exit.status.signal() {
        return Err((Failure::Killed { signal }, exit.stderr));
    }
    match exit.status.code() {
        Some(0) => Ok((exit.stdout, exit.stderr)),
        code => Err((
            failed(code.unwrap_or(-1), &exit.stdout, &exit.stderr),
            exit.stderr,
        )),
    }
}

/// The plugin's error object; where there is none, what can be told from its output.
fn failed(exit: i32, stdout: &[u8], stderr: &str) -> Failure {
    if let Ok(Value::Object(object)) = serde_json::from_slice::<Value>(stdout) {
        let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
        let code = object.get("code").and_then(Value::as_u64);
        if code.is_some() || !text("msg").is_empty() {
            return Failure::Failed {
                code,
                msg: text("msg").to_owned(),
                details: text("details").to_owned(),
                exit,
            };
        }
    }
    let head = head(stdout);
    let msg = match (head.is_empty(), stderr.is_empty()) {
        (true, true) => "the plugin said nothing".to_owned(),
        (true, false) => "what it said is on stderr".to_owned(),
        (false, _) => format!("its output begins {head:?}"),
    };
    Failure::Failed {
        code: None,
        msg,
        details: String::new(),
        exit,
    }
}

/// The first lines of an output, for a message: at most five lines and 512 characters.
fn head(stdout: &[u8]) -> String {
    let bounded = stdout.get(..stdout.len().min(4096)).unwrap_or_default();
    let text = String::from_utf8_lossy(bounded);
    let lines: Vec<&str> = text.lines().take(5).collect();
    lines.join("\n").trim().chars().take(512).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(exit: i32, stdout: &str, stderr: &str) -> String {
        failed(exit, stdout.as_bytes(), stderr).to_string()
    }

    #[test]
    fn duty_18_the_error_object_is_told_or_made_from_the_output() {
        let told = failure(
            1,
            r#"{"cniVersion":"1.0.0","code":100,"msg":"no room","details":"10.0.0.0/30"}"#,
            "",
        );
        assert_eq!(
            told,
            "failed with code 100 (the plugin's own): no room (10.0.0.0/30)"
        );
        assert_eq!(
            failure(7, "", "boom"),
            "failed with exit status 7 and no error object: what it said is on stderr"
        );
        assert!(failure(7, "", "").ends_with("the plugin said nothing"));
        assert!(failure(7, "oh\nno", "").ends_with(r#"its output begins "oh\nno""#));
        assert!(failure(7, "{}", "").contains("no error object"));
        assert!(failure(7, "[1]", "").contains("no error object"));
    }

    #[test]
    fn duty_58_codes_are_told_with_what_they_mean() {
        let table = [
            (1, "incompatible CNI version"),
            (2, "unsupported field"),
            (3, "unknown container"),
            (4, "invalid environment"),
            (5, "I/O failure"),
            (6, "does not decode"),
            (7, "invalid network configuration"),
            (11, "try again later"),
            (42, "reserved"),
            (50, "not available"),
            (51, "limited connectivity"),
            (100, "the plugin's own"),
        ];
        for (code, meaning) in table {
            let text = failure(1, &format!(r#"{{"code":{code},"msg":"x"}}"#), "");
            assert!(text.contains(meaning), "{text}");
        }
    }

    #[test]
    fn the_head_of_an_output_is_short() {
        assert_eq!(head(b"a\nb\nc\nd\ne\nf\ng"), "a\nb\nc\nd\ne");
        assert_eq!(head(&[b'x'; 100_000]).len(), 512);
        assert_eq!(head(b"\xff"), "\u{fffd}");
    }
}
