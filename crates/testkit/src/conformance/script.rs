//! What is done to a journal, from any bytes.

use podwalk_engine::id::{InstanceId, PodId};
use podwalk_engine::ports::Durability;

/// How many pods a script is about.
pub(super) const PODS: u8 = 4;
/// The bytes of one act.
const ACT_BYTES: usize = 3;

/// One thing that is done to a journal. Pods are numbered from zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Act {
    /// The next records of one pod, in one batch.
    Append {
        /// Whose.
        pod: u8,
        /// How many, at least one.
        records: u8,
        /// Which, where several could come next.
        choice: u8,
        /// What they are to survive.
        durability: Durability,
    },
    /// The next record of each of two pods, in one batch.
    Batch {
        /// Whose.
        pods: [u8; 2],
        /// What they are to survive.
        durability: Durability,
    },
    /// The next record of each of two pods, in two batches that are both asked
    /// for before either is answered.
    AtOnce {
        /// Whose.
        pods: [u8; 2],
    },
    /// A record in one batch with another that is as large as no journal needs
    /// to take.
    TooLarge {
        /// Whose.
        pod: u8,
    },
    /// A snapshot in the place of a pod's records.
    Compact {
        /// Whose.
        pod: u8,
    },
    /// A pod is gone.
    Bury {
        /// Which.
        pod: u8,
    },
    /// The process ends, and another opens the journal.
    Close,
    /// Power is lost, and another process opens the journal.
    LosePower,
}

/// The acts that some bytes stand for. Any bytes do, so that a generator of
/// random bytes makes every script, and makes it smaller again.
pub fn script(bytes: &[u8]) -> Vec<Act> {
    bytes.chunks(ACT_BYTES).map(act).collect()
}

fn act(bytes: &[u8]) -> Act {
    let byte = |index: usize| bytes.get(index).copied().unwrap_or_default();
    let (kind, whom, how) = (byte(0), byte(1), byte(2));
    let pod = whom % PODS;
    let pods = [pod, (whom / PODS) % PODS];
    let durability = match how % 2 {
        0 => Durability::Process,
        _ => Durability::Power,
    };
    match kind % 16 {
        0..=5 => Act::Append {
            pod,
            records: 1 + (how / 2) % 3,
            choice: how / 8,
            durability,
        },
        6 | 7 => Act::Batch { pods, durability },
        8 => Act::AtOnce { pods },
        9 => Act::TooLarge { pod },
        10 | 11 => Act::Compact { pod },
        12 | 13 => Act::Bury { pod },
        14 => Act::Close,
        _ => Act::LosePower,
    }
}

/// The id of a script's pod.
pub(super) fn pod_id(number: u8) -> PodId {
    PodId::new([number; 12], InstanceId(*b"conf"))
}
