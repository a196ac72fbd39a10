//! One interface of one container in one network: the parameters of ADD, CHECK and DEL.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::names::{is_identifier, is_interface_name};

/// What a network is asked to do for a container, beside the network's configuration. Plain data:
/// with [`crate::Conflist::bytes`] and the result of ADD it is all that DEL needs.
///
/// The two JSON maps are serialised as text, so that formats that do not describe themselves
/// can hold an attachment too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attachment {
    /// CNI_CONTAINERID: letters, digits, `_`, `.`, `-`.
    pub container_id: String,
    /// CNI_NETNS: the file that the namespace is pinned on. None means empty, which only DEL
    /// takes: the namespace is gone.
    pub netns: Option<PathBuf>,
    /// CNI_IFNAME: the interface's name in the namespace.
    pub ifname: String,
    /// CNI_ARGS in order. Neither keys nor values may hold `;`, `=` or NUL.
    pub args: Vec<(String, String)>,
    /// What the pod offers to plugins that declare a capability (`runtimeConfig`).
    #[serde(with = "json_text")]
    pub capability_args: Map<String, Value>,
    /// What is passed in the configuration's `args.cni`, the structured sibling of CNI_ARGS.
    #[serde(with = "json_text")]
    pub config_args: Map<String, Value>,
    /// TRACEPARENT in the plugins' environment. It belongs to the call, so it is not serialised.
    #[serde(skip)]
    pub traceparent: Option<String>,
}

/// A container and an interface: what tells attachments of a network apart, and what GC is
/// told to keep.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AttachmentId {
    /// CNI_CONTAINERID.
    #[serde(rename = "containerID")]
    pub container_id: String,
    /// CNI_IFNAME.
    pub ifname: String,
}

/// Why an attachment cannot be given to a plugin. Nothing has happened yet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttachmentError {
    /// The container id does not follow the pattern.
    #[error(
        "container id {0:?} is not usable: use letters, digits, '_', '.', '-', the first a letter or digit"
    )]
    ContainerId(String),
    /// The interface name is none.
    #[error(
        "interface name {0:?} is not usable: give 1 to 15 characters without '/', ':' and white space"
    )]
    Interface(String),
    /// A CNI_ARGS pair cannot be written.
    #[error(
        "CNI_ARGS {key}={value:?} is not usable: give a key, and no ';', '=' or NUL in key or value"
    )]
    Argument {
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
    /// The trace parent cannot stand in an environment.
    #[error("TRACEPARENT {0:?} is not usable: it holds a NUL or is empty")]
    Traceparent(String),
}

impl Attachment {
    /// An attachment without a namespace, arguments or capabilities; set the fields that apply.
    pub fn new(container_id: impl Into<String>, ifname: impl Into<String>) -> Self {
        Attachment {
            container_id: container_id.into(),
            netns: None,
            ifname: ifname.into(),
            args: Vec::new(),
            capability_args: Map::new(),
            config_args: Map::new(),
            traceparent: None,
        }
    }

    /// The same with a namespace file.
    pub fn in_netns(mut self, netns: impl Into<PathBuf>) -> Self {
        self.netns = Some(netns.into());
        self
    }

    /// What tells this attachment from others of its network.
    pub fn id(&self) -> AttachmentId {
        AttachmentId {
            container_id: self.container_id.clone(),
            ifname: self.ifname.clone(),
        }
    }

    /// Checks that every value can be given to a plugin.
    ///
    /// # Errors
    /// [`AttachmentError`] names the first value that cannot.
    pub fn validate(&self) -> Result<(), AttachmentError> {
        if !is_identifier(&self.container_id) {
            return Err(AttachmentError::ContainerId(self.container_id.clone()));
        }
        if !is_interface_name(&self.ifname) {
            return Err(AttachmentError::Interface(self.ifname.clone()));
        }
        for (key, value) in &self.args {
            if key.is_empty() || key.contains([';', '=', '\0']) || value.contains([';', '=', '\0'])
            {
                return Err(AttachmentError::Argument {
                    key: key.clone(),
                    value: value.clone(),
                });
            }
        }
        match &self.traceparent {
            Some(text) if text.is_empty() || text.contains('\0') => {
                Err(AttachmentError::Traceparent(text.clone()))
            }
            _ => Ok(()),
        }
    }

    /// CNI_ARGS as plugins read it.
    pub(crate) fn cni_args(&self) -> String {
        let pairs: Vec<String> = self
            .args
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        pairs.join(";")
    }
}

/// A JSON map as a string, for formats that cannot skip over what they do not know.
mod json_text {
    use serde::{Deserialize, Deserializer, Serializer};
    use serde_json::{Map, Value};

    pub(super) fn serialize<S: Serializer>(
        map: &Map<String, Value>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let text = serde_json::to_string(map).map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(&text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Map<String, Value>, D::Error> {
        let text = String::deserialize(deserializer)?;
        serde_json::from_str(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn attachment() -> Attachment {
        let mut attachment = Attachment::new("c1", "eth0").in_netns("/run/netns/c1");
        attachment.args = vec![
            ("IgnoreUnknown".to_owned(), "1".to_owned()),
            ("K8S_POD_NAME".to_owned(), "web".to_owned()),
        ];
        attachment
    }

    #[test]
    fn duty_16_arguments_are_joined_by_semicolons() {
        assert_eq!(attachment().cni_args(), "IgnoreUnknown=1;K8S_POD_NAME=web");
        assert_eq!(Attachment::new("c1", "eth0").cni_args(), "");
        assert_eq!(attachment().validate(), Ok(()));
        for (key, value) in [
            ("", "v"),
            ("a;b", "v"),
            ("a=b", "v"),
            ("a", "v;w"),
            ("a", "v=w"),
            ("a", "\0"),
        ] {
            let mut attachment = attachment();
            attachment.args.push((key.to_owned(), value.to_owned()));
            let expected = AttachmentError::Argument {
                key: key.to_owned(),
                value: value.to_owned(),
            };
            assert_eq!(attachment.validate(), Err(expected));
        }
    }

    #[test]
    fn unusable_names_are_refused_before_any_plugin_runs() {
        let refused = |id: &str, ifname: &str| Attachment::new(id, ifname).validate();
        assert_eq!(
            refused("../x", "eth0"),
            Err(AttachmentError::ContainerId("../x".to_owned()))
        );
        assert_eq!(
            refused("", "eth0"),
            Err(AttachmentError::ContainerId(String::new()))
        );
        assert_eq!(
            refused("c1", "a/b"),
            Err(AttachmentError::Interface("a/b".to_owned()))
        );
        let mut traced = attachment();
        traced.traceparent = Some("a\0".to_owned());
        assert_eq!(
            traced.validate(),
            Err(AttachmentError::Traceparent("a\0".to_owned()))
        );
    }

    #[test]
    fn an_attachment_survives_json_and_bincode() {
        let mut attachment = attachment();
        attachment.capability_args = json!({"mac": "c2:b0:57:49:47:f1", "ips": ["10.0.0.2/8"]})
            .as_object()
            .unwrap()
            .clone();
        attachment.config_args = json!({"deep": {"er": [1, null, true]}})
            .as_object()
            .unwrap()
            .clone();
        let text = serde_json::to_vec(&attachment).unwrap();
        assert_eq!(
            serde_json::from_slice::<Attachment>(&text).unwrap(),
            attachment
        );
        let bytes = bincode::serialize(&attachment).unwrap();
        assert_eq!(
            bincode::deserialize::<Attachment>(&bytes).unwrap(),
            attachment
        );
    }
}
