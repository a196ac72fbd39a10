//! Time, tasks and names, from the machine.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use podwalk_engine::clock::{Clock, Stamp};
use podwalk_engine::id::{BootId, InstanceId, PodId};
use podwalk_engine::ports::{BoxFuture, Spawn};
use rustix::time::{ClockId, clock_gettime};

/// The machine's clocks.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    boot: BootId,
}

impl SystemClock {
    /// Reads which boot this is.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn new() -> anyhow::Result<Self> {
        let boot = podwalk_netns::boot_id().context("which boot this is cannot be read")?;
        Ok(Self { boot: BootId(boot) })
    }

    /// This boot.
    pub fn boot(&self) -> BootId {
        self.boot
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Stamp {
        let boottime = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(boottime.tv_sec).unwrap_or_default();
        let nanoseconds = u64::try_from(boottime.tv_nsec).unwrap_or_default();
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Stamp {
            boot: self.boot,
            wall_ns: u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX),
            boottime_ns: seconds * 1_000_000_000 + nanoseconds,
        }
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// Runs walks on the tokio runtime that it was made in.
#[derive(Debug, Clone)]
pub struct TokioSpawn(tokio::runtime::Handle);

impl TokioSpawn {
    /// On the current runtime.
    pub fn current() -> Self {
        Self(tokio::runtime::Handle::current())
    }
}

impl Spawn for TokioSpawn {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.0.spawn(task);
    }
}

/// A pod id that nobody has had.
///
/// # Errors
/// When the kernel gives no randomness.
pub fn fresh_id(instance: InstanceId) -> io::Result<PodId> {
    Ok(PodId::new(random()?, instance))
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        filled +=
            rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(bytes)
}

/// The name of a state directory, made with it once.
///
/// # Errors
/// When it cannot be read or made, or is damaged.
pub fn instance(state_dir: &Path) -> anyhow::Result<InstanceId> {
    let path = state_dir.join("instance");
    match std::fs::read_to_string(&path) {
        Ok(text) => parse_instance(&text)
            .with_context(|| format!("{} holds no instance id of 8 hex digits; restore it: every name on this host that is ours ends with it", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => make_instance(&path),
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

fn parse_instance(text: &str) -> Option<InstanceId> {
    let text = text.trim();
    let digits = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = digits.then(|| u32::from_str_radix(text, 16).ok())??;
    Some(InstanceId(number.to_be_bytes()))
}

/// On the platter, name and all, before any name on the host carries it.
fn make_instance(path: &Path) -> anyhow::Result<InstanceId> {
    use std::io::Write;
    let id = InstanceId(random().context("the kernel gives no randomness")?);
    let draft = path.with_extension("draft");
    let shown = || format!("the instance id cannot be written to {}", path.display());
    let mut file = std::fs::File::create(&draft).with_context(shown)?;
    writeln!(file, "{id}").with_context(shown)?;
    file.sync_all().with_context(shown)?;
    std::fs::rename(&draft, path).with_context(shown)?;
    if let Some(directory) = path.parent() {
        std::fs::File::open(directory)
            .and_then(|directory| directory.sync_all())
            .with_context(shown)?;
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_keeps_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let first = instance(directory.path()).unwrap();
        assert_eq!(instance(directory.path()).unwrap(), first);
        let id = fresh_id(first).unwrap();
        assert_eq!(id.instance(), first);
        assert_ne!(fresh_id(first).unwrap(), id);
    }

    #[test]
    fn a_damaged_instance_id_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("instance"), "+1234567\n").unwrap();
        let text = format!("{:#}", instance(directory.path()).unwrap_err());
        assert!(text.contains("restore it"), "{text}");
    }

    #[test]
    fn the_clock_goes_on() {
        let clock = SystemClock::new().unwrap();
        let first = clock.now();
        assert!(clock.now().boottime_ns >= first.boottime_ns);
        assert_eq!(first.boot, clock.boot());
    }
}
