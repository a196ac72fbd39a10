//! ADD and DEL of a pod's networks: what ConfigureCni does before the sandbox
//! starts and AttachLate when it runs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use podwalk_cni::{ParsedResult, SpecVersion};
use podwalk_engine::error::StepError;
use podwalk_engine::pod::Pod;
use podwalk_engine::ports::Failure;
use podwalk_engine::record::{AttachmentResult, PlannedAttachment};
use podwalk_engine::step::Step;
use podwalk_netns::Scope;

use super::{Home, Host, blocking, home, of_netns};
use crate::networks::{Pinned, of_cni};

/// How long a plugin that has outlived its daemon, or its deadline, may go on before it is killed.
/// One that is killed between two writes leaves what no DEL finds: host-local makes the file of an
/// address and then writes into it whose it is.
pub(super) const GRACE: Duration = Duration::from_millis(500);

impl Host {
    /// ADD for every attachment of the plan that is this step's, in order.
    pub(super) async fn attach(
        &self,
        pod: &Pod,
        step: Step,
    ) -> Result<Vec<AttachmentResult>, Failure> {
        let planned = (0..).zip(&pod.plan);
        let mine: Vec<_> = planned.filter(|(_, one)| one.step() == step).collect();
        if mine.is_empty() {
            return Ok(Vec::new());
        }
        let home = home(pod).map_err(Failure::not_done)?;
        let expected = home.clone();
        let found = blocking(move || expected.expect()).await;
        found.and_then(|found| found).map_err(Failure::not_done)?;
        let mut results = Vec::new();
        for (index, planned) in mine {
            let added = self.add(pod, planned, &home.path).await;
            results.push(added.map_err(|failure| failure.of_attachment(index))?);
        }
        Ok(results)
    }

    async fn add(
        &self,
        pod: &Pod,
        planned: &PlannedAttachment,
        netns: &Path,
    ) -> Result<AttachmentResult, Failure> {
        let pinned = Pinned::read(pod.id, planned, Some(netns)).map_err(Failure::not_done)?;
        let added = self
            .networks
            .cni()
            .add(&pinned.conflist, &pinned.attachment)
            .await;
        let result = added.map_err(|error| match error.outcome_unknown() {
            true => Failure::unknown(of_cni(&error)),
            false => Failure::not_done(of_cni(&error)),
        })?;
        let link_local = link_local(netns.to_owned(), planned.interface.clone())
            .await
            .map_err(Failure::unknown)?;
        Ok(AttachmentResult {
            result: String::from_utf8_lossy(&result.bytes).into_owned(),
            link_local,
        })
    }

    /// DEL of one attachment, whosever step it is.
    pub(super) async fn detach(&self, pod: &Pod, attachment: u32) -> Result<(), StepError> {
        let index = attachment as usize;
        let Some(planned) = pod.plan.get(index) else {
            return Ok(());
        };
        let netns = found(pod).await?;
        let pinned = Pinned::read(pod.id, planned, netns.as_deref())?;
        let result = pod.attachments.get(index).and_then(|a| a.result.as_ref());
        let result = result.map(|result| result.result.as_bytes());
        if let (Some(netns), Some(result)) = (&netns, result) {
            self.give_back(pod, planned, netns, result).await;
        }
        let cni = self.networks.cni();
        cni.del(&pinned.conflist, &pinned.attachment, result)
            .await
            .map_err(|error| of_cni(&error))
    }

    /// A sandbox may have taken the addresses away, and plugins read them off the interface to find
    /// their rules (bridge with `ipMasq`): then DEL would succeed and leave those. It runs even if
    /// they cannot be given back. Whose sandbox it was is not asked: it is gone by now, and the
    /// handler that is configured today may be another.
    async fn give_back(&self, pod: &Pod, planned: &PlannedAttachment, netns: &Path, result: &[u8]) {
        let Ok(result) = ParsedResult::parse(result, SpecVersion::NEWEST) else {
            return;
        };
        let interface = planned.interface.clone();
        let addresses = result.addresses_of(&interface);
        let addresses: Vec<_> = addresses.map(|one| (one.address, one.prefix)).collect();
        let path = netns.to_owned();
        let given = move || podwalk_netns::give_addresses(&path, &interface, &addresses);
        let given = self.effect(pod, given).await;
        if let Err(error) = given.and_then(|given| given.map_err(of_netns)) {
            tracing::warn!(pod = %pod.id, %error, "what the sandbox took is not given back");
        }
    }
}

/// The pod's namespace file, if its namespace is on it.
async fn found(pod: &Pod) -> Result<Option<PathBuf>, StepError> {
    let Some(home) = Home::of(pod) else {
        return Ok(None);
    };
    blocking(move || Ok(home.is_there()?.then_some(home.path))).await?
}

/// The interface's `fe80::` address, which no result tells.
async fn link_local(netns: PathBuf, interface: String) -> Result<Option<(String, u8)>, StepError> {
    let links = blocking(move || podwalk_netns::links(&netns))
        .await?
        .map_err(of_netns)?;
    let link = links.into_iter().find(|link| link.name == interface);
    let addresses = link.into_iter().flat_map(|link| link.addresses);
    let mut local = addresses.filter(|a| a.address.is_ipv6() && a.scope == Scope::Link);
    Ok(local.next().map(|a| (a.address.to_string(), a.prefix)))
}
