//! Whose ids and whose policy a sandbox lives under.

use std::path::PathBuf;

/// A user namespace of the sandbox's own, see user_namespaces(7). Its ids stand for others of the
/// host, so that who is root inside is nobody outside.
///
/// With a path, a namespace that exists is joined: the one that owns the sandbox's network
/// namespace. Without one, the runtime makes it; then it does not own the network namespace,
/// which was there before, and the sandbox has no `/sys`, which only an owner may mount.
///
/// The mappings are needed either way, and with a path they are those that the namespace has:
/// runc 1.1 refuses a path without mappings, runc 1.2 and later one with others than the
/// namespace's, and crun gives the mapped root what it makes by them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UserNamespace {
    /// The namespace, `/proc/PID/fd/N` or a file on which it is pinned, open until the sandbox
    /// was created; `None` has the runtime make one.
    pub path: Option<PathBuf>,
    /// Its users.
    pub uids: Vec<IdMapping>,
    /// Its groups.
    pub gids: Vec<IdMapping>,
}

/// A run of ids: a line of `uid_map` or `gid_map`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct IdMapping {
    /// The first id inside.
    pub container_id: u32,
    /// The first id outside.
    pub host_id: u32,
    /// How many there are.
    pub length: u32,
}

impl IdMapping {
    /// Whether it maps an id of the inside.
    pub(crate) fn maps(&self, id: u32) -> bool {
        id.checked_sub(self.container_id)
            .is_some_and(|offset| offset < self.length)
    }
}

/// A label of SELinux. An empty part is that of `system_u:system_r:container_t:s0`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct SelinuxLabel {
    /// The user.
    pub user: String,
    /// The role.
    pub role: String,
    /// The type.
    pub kind: String,
    /// The level, such as `s0:c1,c2`.
    pub level: String,
}

impl SelinuxLabel {
    /// The label of the process.
    pub(crate) fn of_process(&self) -> String {
        let role = given_or(&self.role, "system_r");
        let kind = given_or(&self.kind, "container_t");
        self.with(role, kind)
    }

    /// The label of the mounts. Files have a role and a type of their own, and the process may
    /// use them because user and level are the same.
    pub(crate) fn of_mounts(&self) -> String {
        self.with("object_r", "container_file_t")
    }

    fn with(&self, role: &str, kind: &str) -> String {
        let user = given_or(&self.user, "system_u");
        let level = given_or(&self.level, "s0");
        format!("{user}:{role}:{kind}:{level}")
    }
}

fn given_or<'a>(given: &'a str, default: &'a str) -> &'a str {
    if given.is_empty() { default } else { given }
}

#[cfg(test)]
mod tests;
