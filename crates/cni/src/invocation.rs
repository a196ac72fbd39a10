//! What a plugin is given: its environment and its configuration, derived anew for each call.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::attachment::{Attachment, AttachmentId};
use crate::conflist::{Conflist, Plugin};
use crate::error::Verb;

/// The environment of a plugin: PATH as ours, the CNI variables, nothing else. Variables that
/// an operation does not use are there, and empty.
pub(crate) fn environment(
    verb: Verb,
    attachment: Option<&Attachment>,
    netns: Option<&std::path::Path>,
    search: &[PathBuf],
) -> Vec<(&'static str, OsString)> {
    let text = |pick: fn(&Attachment) -> String| attachment.map(pick).unwrap_or_default();
    let netns = netns.map(OsString::from).unwrap_or_default();
    let mut variables: Vec<(&'static str, OsString)> = vec![
        ("CNI_COMMAND", verb.as_str().into()),
        ("CNI_CONTAINERID", text(|a| a.container_id.clone()).into()),
        ("CNI_NETNS", netns),
        ("CNI_IFNAME", text(|a| a.ifname.clone()).into()),
        ("CNI_ARGS", text(Attachment::cni_args).into()),
        ("CNI_PATH", joined(search)),
    ];
    if let Some(path) = std::env::var_os("PATH") {
        variables.push(("PATH", path));
    }
    if let Some(parent) = attachment.and_then(|a| a.traceparent.as_ref()) {
        variables.push(("TRACEPARENT", parent.into()));
    }
    variables
}

fn joined(search: &[PathBuf]) -> OsString {
    let paths: Vec<&OsStr> = search.iter().map(|path| path.as_os_str()).collect();
    paths.join(OsStr::new(":"))
}

/// What a call adds to a plugin's configuration, beside the network's name and version.
#[derive(Default)]
pub(crate) struct Addition<'a> {
    /// Gives `runtimeConfig` and `args`.
    pub(crate) attachment: Option<&'a Attachment>,
    /// Gives `prevResult`.
    pub(crate) prev_result: Option<&'a Map<String, Value>>,
    /// Gives `cni.dev/valid-attachments`.
    pub(crate) valid: Option<&'a [AttachmentId]>,
}

/// Derives the configuration of one plugin (*Deriving request configuration*).
pub(crate) fn configuration(
    conflist: &Conflist,
    plugin: &Plugin,
    addition: &Addition<'_>,
) -> Vec<u8> {
    let mut object = plugin.object().clone();
    object.remove("capabilities");
    object.insert("name".to_owned(), json!(conflist.name()));
    object.insert(
        "cniVersion".to_owned(),
        json!(conflist.cni_version().as_str()),
    );
    if let Some(attachment) = addition.attachment {
        let offered = offered(plugin, &attachment.capability_args);
        if !offered.is_empty() {
            object.insert("runtimeConfig".to_owned(), Value::Object(offered));
        }
        if !attachment.config_args.is_empty() {
            object.insert("args".to_owned(), json!({ "cni": attachment.config_args }));
        }
    }
    if let Some(result) = addition.prev_result {
        object.insert("prevResult".to_owned(), Value::Object(result.clone()));
    }
    if let Some(valid) = addition.valid {
        // The second key is not the specification's; the reference library writes both.
        for key in ["cni.dev/valid-attachments", "cni.dev/attachments"] {
            object.insert(key.to_owned(), json!(valid));
        }
    }
    Value::Object(object).to_string().into_bytes()
}

/// The cut of what a plugin declares and what the pod offers.
fn offered(plugin: &Plugin, offer: &Map<String, Value>) -> Map<String, Value> {
    plugin
        .capabilities()
        .iter()
        .filter_map(|name| Some((name.clone(), offer.get(name)?.clone())))
        .collect()
}

#[cfg(test)]
mod tests;
