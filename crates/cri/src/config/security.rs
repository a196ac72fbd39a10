//! A security context in the engine's words.

use podwalk_engine::spec::{self, Profile, Security, SelinuxLabel, Sharing, UserMappings};
use podwalk_engine::step::NetworkMode;

use super::error::{fitting, shortened};
use super::{
    ConfigError, IdMapping, LinuxSandboxSecurityContext, NamespaceMode, NamespaceOption,
    ProfileType, SecurityProfile, SelinuxOption, UserNamespace,
};

/// The ids of users and groups; the last number of 32 bits is none.
const ID: &str = "0 to 4294967294";

fn refused(name: &str, problem: impl Into<String>, remedy: &'static str) -> ConfigError {
    ConfigError::new(at(name), problem, remedy)
}

/// A field's whole path.
fn at(name: &str) -> String {
    format!("linux.security_context.{name}")
}

impl LinuxSandboxSecurityContext {
    /// The same in the engine's words, the network aside: it is [`NamespaceOption::network_mode`].
    pub(super) fn into_security(self) -> Result<Security, ConfigError> {
        let Self {
            namespace_options,
            selinux_options,
            run_as_user,
            run_as_group,
            readonly_rootfs,
            supplemental_groups,
            supplemental_groups_policy,
            privileged,
            seccomp,
            apparmor,
            seccomp_profile_path,
        } = self;
        let NamespaceOption {
            network: _,
            pid,
            ipc,
            target_id,
            userns_options,
        } = namespace_options;
        if !target_id.is_empty() {
            return Err(refused(
                "namespace_options.target_id",
                format!("'{}' names a container", shortened(&target_id)),
                "leave it out: a pod has no container yet whose namespaces it could join",
            ));
        }
        let id = |name: &str, value| fitting(at(name), value, ID);
        let user = run_as_user.map(|user| id("run_as_user", user.value));
        let group = run_as_group.map(|group| id("run_as_group", group.value));
        let groups = supplemental_groups.into_iter();
        let groups = groups.map(|group| id("supplemental_groups", group));
        Ok(Security {
            pid: sharing("namespace_options.pid", pid)?,
            ipc: sharing("namespace_options.ipc", ipc)?,
            user_namespace: userns_options.unwrap_or(HOSTS).into_mappings()?,
            privileged,
            readonly_rootfs,
            seccomp: seccomp_of(seccomp, &seccomp_profile_path)?,
            apparmor: apparmor.unwrap_or_default().into_profile("apparmor")?,
            selinux: selinux_options.and_then(SelinuxOption::into_label),
            run_as_user: user.transpose()?,
            run_as_group: group.transpose()?,
            supplemental_groups: groups.collect::<Result<_, _>>()?,
            groups_policy: supplemental_groups_policy.into(),
        })
    }
}

/// What a client means that says nothing of user namespaces. CRI says that POD is to be assumed
/// then; but what POD needs, the mappings, is missing.
const HOSTS: UserNamespace = UserNamespace {
    mode: NamespaceMode::Node,
    uids: Vec::new(),
    gids: Vec::new(),
};

impl NamespaceOption {
    /// Whose network is asked for.
    pub(super) fn network_mode(&self) -> Result<NetworkMode, ConfigError> {
        match self.network {
            NamespaceMode::Pod => Ok(NetworkMode::Cni),
            NamespaceMode::Node => Ok(NetworkMode::Host),
            NamespaceMode::Container => Err(refused(
                "namespace_options.network",
                "CONTAINER is no mode of a pod's network",
                "use POD or NODE",
            )),
            NamespaceMode::Target => Err(refused(
                "namespace_options.network",
                "TARGET is no mode of a pod's network",
                "use POD or NODE",
            )),
        }
    }
}

fn sharing(name: &str, mode: NamespaceMode) -> Result<Sharing, ConfigError> {
    match mode {
        NamespaceMode::Pod => Ok(Sharing::Pod),
        NamespaceMode::Container => Ok(Sharing::Container),
        NamespaceMode::Node => Ok(Sharing::Node),
        NamespaceMode::Target => Err(refused(
            name,
            "TARGET is a mode of containers",
            "use POD, CONTAINER or NODE",
        )),
    }
}

impl UserNamespace {
    /// None for the host's.
    fn into_mappings(self) -> Result<Option<UserMappings>, ConfigError> {
        let Self { mode, uids, gids } = self;
        let lacking = |list: &str, whom: &str| {
            refused(
                &format!("namespace_options.userns_options.{list}"),
                format!("mode POD maps no {whom}"),
                "give at least one mapping, or use mode NODE",
            )
        };
        match mode {
            NamespaceMode::Pod if uids.is_empty() => Err(lacking("uids", "user")),
            NamespaceMode::Pod if gids.is_empty() => Err(lacking("gids", "group")),
            NamespaceMode::Pod => Ok(Some(UserMappings {
                uids: uids.into_iter().map(Into::into).collect(),
                gids: gids.into_iter().map(Into::into).collect(),
            })),
            NamespaceMode::Node if uids.is_empty() && gids.is_empty() => Ok(None),
            NamespaceMode::Node => Err(refused(
                "namespace_options.userns_options",
                "mode NODE has mappings",
                "leave them out, or use mode POD",
            )),
            NamespaceMode::Container | NamespaceMode::Target => Err(refused(
                "namespace_options.userns_options.mode",
                "a user namespace is the pod's or the host's",
                "use POD or NODE",
            )),
        }
    }
}

impl From<IdMapping> for spec::IdMapping {
    fn from(mapping: IdMapping) -> Self {
        let IdMapping {
            host_id,
            container_id,
            length,
        } = mapping;
        Self {
            container_id,
            host_id,
            length,
        }
    }
}

impl SelinuxOption {
    /// None when nothing is asked for.
    fn into_label(self) -> Option<SelinuxLabel> {
        let Self {
            user,
            role,
            r#type: kind,
            level,
        } = self;
        let label = SelinuxLabel {
            user,
            role,
            kind,
            level,
        };
        (label != SelinuxLabel::default()).then_some(label)
    }
}

impl SecurityProfile {
    /// The profile of the field `name`.
    fn into_profile(self, name: &str) -> Result<Profile, ConfigError> {
        let Self {
            profile_type,
            localhost_ref,
        } = self;
        let is_named = !localhost_ref.is_empty();
        match profile_type {
            ProfileType::Localhost if is_named => Ok(Profile::Localhost(localhost_ref)),
            ProfileType::Localhost => Err(refused(
                &format!("{name}.localhost_ref"),
                "it is empty, and profile_type is Localhost",
                "name the profile",
            )),
            ProfileType::RuntimeDefault | ProfileType::Unconfined if is_named => Err(refused(
                &format!("{name}.localhost_ref"),
                "it names a profile, and profile_type is not Localhost",
                "leave it out, or use profile_type Localhost",
            )),
            ProfileType::RuntimeDefault => Ok(Profile::RuntimeDefault),
            ProfileType::Unconfined => Ok(Profile::Unconfined),
        }
    }
}

/// The one seccomp profile that the field and its deprecated predecessor ask for.
fn seccomp_of(profile: Option<SecurityProfile>, path: &str) -> Result<Profile, ConfigError> {
    let profile = profile.map(|profile| profile.into_profile("seccomp"));
    let profile = profile.transpose()?;
    let deprecated = deprecated_seccomp(path)?;
    match (profile, deprecated) {
        (Some(one), Some(other)) if one != other => Err(refused(
            "seccomp_profile_path",
            format!("'{}' is not what seccomp says", shortened(path)),
            "leave it out: it is deprecated",
        )),
        (Some(profile), _) | (None, Some(profile)) => Ok(profile),
        (None, None) => Ok(Profile::RuntimeDefault),
    }
}

fn deprecated_seccomp(path: &str) -> Result<Option<Profile>, ConfigError> {
    match path {
        "" => return Ok(None),
        "unconfined" => return Ok(Some(Profile::Unconfined)),
        "runtime/default" | "docker/default" => return Ok(Some(Profile::RuntimeDefault)),
        _ => {}
    }
    let file = path.strip_prefix("localhost/").ok_or_else(|| {
        refused(
            "seccomp_profile_path",
            format!("'{}' is no profile", shortened(path)),
            "unconfined, runtime/default, or localhost/ and an absolute path",
        )
    })?;
    Ok(Some(Profile::Localhost(file.to_owned())))
}
