//! The verbs beside ADD and DEL: CHECK, STATUS, VERSION and GC.

use std::fmt;

use serde_json::{Value, json};

use super::call::Call;
use super::{Ran, Runtime, recorded, require_netns};
use crate::attachment::{Attachment, AttachmentId};
use crate::conflist::Conflist;
use crate::error::{CniError, Failure, Verb};
use crate::invocation::Addition;
use crate::ledger::Phase;
use crate::points;
use crate::result::{ResultError, read_object};
use crate::version::SpecVersion;

/// The versions that a plugin says it speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginVersions {
    /// The version of the answer.
    pub cni_version: String,
    /// The versions, as the plugin writes them; some may not be known here.
    pub supported: Vec<String>,
}

impl PluginVersions {
    /// Whether a network of this version can use the plugin.
    pub fn speaks(&self, version: SpecVersion) -> bool {
        self.supported.iter().any(|text| text == version.as_str())
    }
}

/// An attachment that is known to be stale: what its DEL needs.
#[derive(Debug, Clone, Copy)]
pub struct Stale<'a> {
    /// The list that ADD ran with.
    pub conflist: &'a Conflist,
    /// Its attachment.
    pub attachment: &'a Attachment,
    /// Its result, if it is not lost.
    pub result: Option<&'a [u8]>,
}

/// Everything that went wrong in a GC, which goes on over errors.
#[derive(Debug)]
pub struct GcError {
    /// The errors in the order they were met, at least one.
    pub errors: Vec<CniError>,
}

impl fmt::Display for GcError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} plugin calls failed", self.errors.len())?;
        for error in &self.errors {
            write!(formatter, "; {error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for GcError {}

impl Runtime {
    /// Looks whether an attachment is as ADD left it: every plugin in order, given the final
    /// result of ADD, until the first error. The other parameters must be those of ADD.
    ///
    /// # Errors
    /// [`CniError`]: what is not as it was, as the plugin tells it; or the attachment is not
    /// attached as far as this runtime knows, the result does not read, the network's version
    /// has no CHECK.
    pub async fn check(
        &self,
        conflist: &Conflist,
        attachment: &Attachment,
        result: &[u8],
    ) -> Result<Ran, CniError> {
        if conflist.disable_check() {
            return Ok(Ran::Disabled);
        }
        let refuse = |failure| CniError::new(Verb::Check, conflist.name(), failure);
        if !conflist.cni_version().has_check() {
            return Err(refuse(Failure::NotInVersion {
                verb: Verb::Check,
                needs: SpecVersion::V0_4_0,
                has: conflist.cni_version(),
            }));
        }
        let _turn = self.turn(conflist, attachment).await;
        attachment.validate().map_err(|e| refuse(e.into()))?;
        require_netns(attachment).map_err(refuse)?;
        self.require_attached(&attachment.id()).map_err(refuse)?;
        read_object(result).map_err(|e| refuse(Failure::RecordedResult(e)))?;
        let previous = recorded(conflist, Some(result));
        for plugin in conflist.plugins() {
            let addition = Addition {
                attachment: Some(attachment),
                prev_result: previous.as_ref(),
                valid: None,
            };
            self.call(&Call::of(Verb::Check, conflist, plugin, addition))
                .await?;
        }
        Ok(Ran::Yes)
    }

    fn require_attached(&self, id: &AttachmentId) -> Result<(), Failure> {
        match self.ledger.phase(id) {
            Some(Phase::Attached) => Ok(()),
            Some(Phase::Owed) | None => Err(Failure::NotAttached {
                container_id: id.container_id.clone(),
                ifname: id.ifname.clone(),
            }),
        }
    }

    /// Asks every plugin in order whether it can attach containers, until the first error. It
    /// takes no lock, and nothing waits for it.
    ///
    /// # Errors
    /// [`CniError`] of the first plugin that is not ready; see [`CniError::network_not_ready`].
    pub async fn status(&self, conflist: &Conflist) -> Result<Ran, CniError> {
        if !conflist.cni_version().has_status_and_gc() {
            return Ok(Ran::OlderThan(SpecVersion::V1_1_0));
        }
        for plugin in conflist.plugins() {
            let call = Call::of(Verb::Status, conflist, plugin, Addition::default());
            self.call(&call).await?;
        }
        Ok(Ran::Yes)
    }

    /// Asks a plugin, by its `type`, for the versions it speaks.
    ///
    /// # Errors
    /// [`CniError`] when it does not run or its answer is none.
    pub async fn version(&self, plugin: &str) -> Result<PluginVersions, CniError> {
        let call = Call {
            verb: Verb::Version,
            network: "",
            plugin,
            attachment: None,
            config: json!({ "cniVersion": SpecVersion::NEWEST.as_str() })
                .to_string()
                .into_bytes(),
        };
        let answer = self.call(&call).await?;
        read_versions(&answer.stdout).map_err(|reason| answer.unreadable(&call, reason))
    }

    /// Lets the plugins remove what belongs to no valid attachment of the network.
    ///
    /// First the stale attachments that are known are detached by DEL, which GC does not replace.
    /// Then, while no ADD and no DEL runs in the network, `valid` is asked for all that is to
    /// be kept (asked any earlier, it could miss an ADD that finishes meanwhile), and every plugin
    /// is called in order, over errors.
    ///
    /// # Errors
    /// [`GcError`] with every error of a DEL and of a GC.
    pub async fn gc(
        &self,
        conflist: &Conflist,
        stale: &[Stale<'_>],
        valid: impl FnOnce() -> Vec<AttachmentId> + Send,
    ) -> Result<Ran, GcError> {
        if conflist.disable_gc() {
            return Ok(Ran::Disabled);
        }
        if !conflist.cni_version().has_status_and_gc() {
            return Ok(Ran::OlderThan(SpecVersion::V1_1_0));
        }
        let mut errors = Vec::new();
        for one in stale {
            let detached = self.del(one.conflist, one.attachment, one.result).await;
            errors.extend(detached.err());
        }
        let _alone = self.ledger.alone(conflist.name()).await;
        let valid = valid();
        for plugin in conflist.plugins() {
            let addition = Addition {
                valid: Some(&valid),
                ..Addition::default()
            };
            let call = Call::of(Verb::Gc, conflist, plugin, addition);
            match self.call(&call).await {
                Ok(_) => points::plugin_done(Verb::Gc),
                Err(error) => errors.push(error),
            }
        }
        match errors.is_empty() {
            true => Ok(Ran::Yes),
            false => Err(GcError { errors }),
        }
    }
}

fn read_versions(stdout: &[u8]) -> Result<PluginVersions, ResultError> {
    let object = read_object(stdout)?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let supported = match object.get("supportedVersions") {
        Some(list) => {
            serde_json::from_value(list.clone()).map_err(|source| ResultError::Shape {
                part: "supportedVersions",
                source,
            })?
        }
        // A plugin of 0.1.0 knows no VERSION and answers without the list.
        None => vec![SpecVersion::V0_1_0.as_str().to_owned()],
    };
    Ok(PluginVersions {
        cni_version: object.get("cniVersion").and_then(text).unwrap_or_default(),
        supported,
    })
}
