//! The verbs: a list's plugins called in order, with what each is owed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use podwalk_process::{Spawn, Unlisted};
use serde_json::{Map, Value};

use crate::attachment::{Attachment, AttachmentId};
use crate::conflist::Conflist;
use crate::error::{CniError, Failure, Verb};
use crate::invocation::Addition;
use crate::ledger::{Ledger, Phase};
use crate::locate::locate;
use crate::points;
use crate::result::{ParsedResult, convert, read_object, version_of};
use crate::version::SpecVersion;

mod call;
mod query;

pub use query::{GcError, PluginVersions, Stale};

use call::Call;

/// How the runtime works.
#[derive(Clone)]
pub struct RuntimeOptions {
    /// The directories of plugins, in order (CNI_PATH). They must be absolute and hold no `:`.
    pub search: Vec<PathBuf>,
    /// Where plugin processes are put before they execute.
    pub spawn: Arc<dyn Spawn>,
    /// How long one plugin may take before its process group is killed.
    pub plugin_deadline: Duration,
    /// What is done when a plugin says 'try again later'.
    pub retry: Retry,
}

/// How often and how soon a plugin that says 'try again later' (code 11) is called again. All
/// attempts together end within the plugin's deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Calls in all, the first included; 1 means never again.
    pub attempts: u32,
    /// The pause before the second call; each further one is twice as long.
    pub pause: Duration,
}

impl RuntimeOptions {
    /// The defaults for a search path: 30 s for a plugin, five attempts from 200 ms, and
    /// processes that are put nowhere ([`Unlisted`]).
    pub fn new(search: Vec<PathBuf>) -> Self {
        RuntimeOptions {
            search,
            spawn: Arc::new(Unlisted),
            plugin_deadline: Duration::from_secs(30),
            retry: Retry {
                attempts: 5,
                pause: Duration::from_millis(200),
            },
        }
    }
}

/// What a list's ADD answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddResult {
    /// The final result in the list's version: what is kept for CHECK and DEL.
    pub bytes: Vec<u8>,
    /// The same, read.
    pub parsed: ParsedResult,
}

/// Whether a verb that a network may do without was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ran {
    /// Every plugin was called.
    Yes,
    /// The network's configuration switches the verb off; no plugin was called.
    Disabled,
    /// The network's version is older than the verb; no plugin was called.
    OlderThan(SpecVersion),
}

/// Runs the plugins of networks. One exists per process; it holds the locks that keep
/// operations apart, and remembers what it attached.
pub struct Runtime {
    options: RuntimeOptions,
    ledger: Ledger,
}

impl Runtime {
    /// A runtime that has attached nothing yet; see [`Runtime::adopt`].
    pub fn new(options: RuntimeOptions) -> Self {
        Runtime {
            options,
            ledger: Ledger::default(),
        }
    }

    /// Takes over an attachment that an earlier process made: CHECK is allowed for it, and ADD
    /// is not, until a DEL has succeeded.
    pub fn adopt(&self, id: AttachmentId) {
        self.ledger.set(id, Phase::Attached);
    }

    /// Forgets an attachment whose DEL nobody will run any more (an operator forgave the debt).
    pub fn forget(&self, id: &AttachmentId) {
        self.ledger.forget(id);
    }

    /// Finds the binaries of a network's plugins, in order.
    ///
    /// # Errors
    /// The first binary that is missing or cannot run here, as every verb would report it.
    pub fn locate(&self, conflist: &Conflist) -> Result<Vec<PathBuf>, CniError> {
        let find = |kind: &str| {
            locate(kind, &self.options.search).map_err(|(binary, failure)| {
                CniError::new(Verb::Status, conflist.name(), failure)
                    .of_plugin(kind, binary.as_deref())
            })
        };
        conflist.plugins().iter().map(|p| find(p.kind())).collect()
    }

    /// Attaches a container: every plugin in order, each given the result of the one before,
    /// until the first error. Code 11 makes the whole list be undone by DEL and tried again.
    ///
    /// Dropping the future kills the plugin that runs; a DEL is owed then.
    ///
    /// # Errors
    /// [`CniError`]. Unless [`CniError::nothing_ran`], a DEL is owed, whatever the error.
    pub async fn add(
        &self,
        conflist: &Conflist,
        attachment: &Attachment,
    ) -> Result<AddResult, CniError> {
        let refuse = |failure| CniError::new(Verb::Add, conflist.name(), failure);
        let _turn = self.turn(conflist, attachment).await;
        attachment.validate().map_err(|e| refuse(e.into()))?;
        require_netns(attachment).map_err(refuse)?;
        let id = attachment.id();
        if self.ledger.phase(&id).is_some() {
            return Err(refuse(Failure::AlreadyAttached {
                container_id: id.container_id,
                ifname: id.ifname,
            }));
        }
        self.ledger.set(id.clone(), Phase::Owed);
        let result = self.add_patiently(conflist, attachment).await?;
        self.ledger.set(id, Phase::Attached);
        Ok(result)
    }

    async fn add_patiently(
        &self,
        conflist: &Conflist,
        attachment: &Attachment,
    ) -> Result<AddResult, CniError> {
        let mut patience = Patience::new(&self.options);
        loop {
            let error = match self.add_once(conflist, attachment).await {
                Err(error) if error.retry_later() => error,
                answer => return answer,
            };
            let Some(pause) = patience.next_pause() else {
                return Err(error);
            };
            // ADD is never repeated without a DEL between.
            if let Err(met) = self.del_all(conflist, attachment, None).await {
                return Err(error.and_then_met(met));
            }
            points::undone_for_retry();
            tokio::time::sleep(pause).await;
        }
    }

    async fn add_once(
        &self,
        conflist: &Conflist,
        attachment: &Attachment,
    ) -> Result<AddResult, CniError> {
        let mut last: Option<AddResult> = None;
        let mut previous: Option<Map<String, Value>> = None;
        for plugin in conflist.plugins() {
            let addition = Addition {
                attachment: Some(attachment),
                prev_result: previous.as_ref(),
                valid: None,
            };
            let call = Call::of(Verb::Add, conflist, plugin, addition);
            let answer = self.call(&call).await?;
            let (object, result) = read_answer(&answer.stdout, conflist.cni_version())
                .map_err(|reason| answer.unreadable(&call, reason))?;
            points::plugin_done(Verb::Add);
            previous = Some(object);
            last = Some(result);
        }
        // A conflist without plugins does not parse.
        last.ok_or_else(|| {
            let searched = self.options.search.clone();
            CniError::new(
                Verb::Add,
                conflist.name(),
                Failure::PluginMissing { searched },
            )
        })
    }

    /// Detaches a container: every plugin in reverse, each given the final result of ADD (from
    /// 0.4.0), until the first error. It succeeds when nothing is there, and may be repeated
    /// until it does. A result that is lost or does not read is left out.
    ///
    /// CNI_NETNS is empty when `attachment` names no namespace, and also when what it names is
    /// no namespace any more: plugins that are told of a plain file fail for ever.
    ///
    /// # Errors
    /// [`CniError`] of the plugin that stopped it; those before it in the list have not been
    /// called, and the DEL stays owed.
    pub async fn del(
        &self,
        conflist: &Conflist,
        attachment: &Attachment,
        prev_result: Option<&[u8]>,
    ) -> Result<(), CniError> {
        let _turn = self.turn(conflist, attachment).await;
        attachment
            .validate()
            .map_err(|e| CniError::new(Verb::Del, conflist.name(), e.into()))?;
        let id = attachment.id();
        if self.ledger.phase(&id).is_some() {
            self.ledger.set(id.clone(), Phase::Owed);
        }
        self.del_all(conflist, attachment, prev_result).await?;
        self.ledger.forget(&id);
        Ok(())
    }

    async fn del_all(
        &self,
        conflist: &Conflist,
        attachment: &Attachment,
        prev_result: Option<&[u8]>,
    ) -> Result<(), CniError> {
        let previous = recorded(conflist, prev_result);
        for plugin in conflist.plugins().iter().rev() {
            let addition = Addition {
                attachment: Some(attachment),
                prev_result: previous.as_ref(),
                valid: None,
            };
            let call = Call::of(Verb::Del, conflist, plugin, addition);
            match self.call_patiently(&call).await {
                // Unknown container: nothing to clean.
                Err(error) if error.code() == Some(3) => {}
                answer => drop(answer?),
            }
            points::plugin_done(Verb::Del);
        }
        Ok(())
    }

    /// Calls again when the plugin says so: for DEL, which may be repeated as it is.
    async fn call_patiently(&self, call: &Call<'_>) -> Result<call::Answer, CniError> {
        let mut patience = Patience::new(&self.options);
        loop {
            match self.call(call).await {
                Err(error) if error.retry_later() => match patience.next_pause() {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => return Err(error),
                },
                answer => return answer,
            }
        }
    }

    async fn turn(&self, conflist: &Conflist, attachment: &Attachment) -> crate::ledger::Turn {
        let container = &attachment.container_id;
        self.ledger.turn(container, conflist.name()).await
    }
}

/// Counts attempts and time.
struct Patience {
    left: u32,
    pause: Duration,
    until: tokio::time::Instant,
}

impl Patience {
    fn new(options: &RuntimeOptions) -> Self {
        Patience {
            left: options.retry.attempts.saturating_sub(1),
            pause: options.retry.pause,
            until: tokio::time::Instant::now() + options.plugin_deadline,
        }
    }

    fn next_pause(&mut self) -> Option<Duration> {
        let pause = self.pause;
        if self.left == 0 || tokio::time::Instant::now() + pause >= self.until {
            return None;
        }
        self.left -= 1;
        self.pause = pause.saturating_mul(2);
        Some(pause)
    }
}

/// Reads an ADD's answer, and writes it in the list's version.
fn read_answer(
    stdout: &[u8],
    version: SpecVersion,
) -> Result<(Map<String, Value>, AddResult), crate::result::ResultError> {
    let object = read_object(stdout)?;
    let from = version_of(&object, version)?;
    let parsed = ParsedResult::read(&convert(object.clone(), from, SpecVersion::NEWEST))?;
    let object = convert(object, from, version);
    let bytes = Value::Object(object.clone()).to_string().into_bytes();
    Ok((object, AddResult { bytes, parsed }))
}

/// The recorded result as `prevResult` of a DEL; none where there is none to give.
fn recorded(conflist: &Conflist, bytes: Option<&[u8]>) -> Option<Map<String, Value>> {
    let version = conflist.cni_version();
    if !version.has_check() {
        return None;
    }
    let object = read_object(bytes?).ok()?;
    let from = version_of(&object, version).ok()?;
    Some(convert(object, from, version))
}

/// The magic number of nsfs, the file system of namespaces.
const NSFS_MAGIC: u64 = 0x6e73_6673;

/// Whether a namespace is pinned on the file.
pub(crate) fn is_namespace(path: &Path) -> std::io::Result<bool> {
    let magic = rustix::fs::statfs(path)?.f_type;
    Ok(u64::try_from(magic).is_ok_and(|magic| magic == NSFS_MAGIC))
}

/// ADD and CHECK work in a namespace that exists; a missing one must never look like a network
/// that is ready.
fn require_netns(attachment: &Attachment) -> Result<(), Failure> {
    let path = attachment.netns.as_deref().ok_or(Failure::NoNetns)?;
    if path.as_os_str().is_empty() {
        return Err(Failure::NoNetns);
    }
    match is_namespace(path) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::NotANamespace {
            path: path.to_owned(),
        }),
        Err(source) => Err(Failure::NetnsUnreadable {
            path: path.to_owned(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests;
