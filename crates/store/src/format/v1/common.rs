//! Version 1 of what all other types are made of.

use podwalk_engine::{clock, error, id, record, step};

use super::{Frozen, frozen_enum, frozen_struct};

frozen_enum! {
    Goal = record::Goal { Run, Stop, Remove }

    Cause = record::Cause {
        Request,
        StartFailed { step: Step, error: StepError },
        NotResumed,
        AttemptsExhausted { step: Step },
        Reboot,
    }

    Step = step::Step { Create, MountNetns, ReadyNetwork, ConfigureCni, Start, AttachLate }

    ErrorKind = error::ErrorKind { Invalid, Conflict, Retry, Timeout, Environment, Failed }
}

frozen_struct! {
    StepError = error::StepError { kind: ErrorKind, message: String, remedy: String }

    Stamp = clock::Stamp { boot: BootId, wall_ns: u64, boottime_ns: u64 }
}

/// Sixteen bytes, without a length.
macro_rules! frozen_ids {
    ($($name:ident;)*) => {$(
        #[derive(Debug, serde::Serialize, serde::Deserialize)]
        pub(in crate::format) struct $name([u8; 16]);

        impl Frozen for $name {
            type Live = id::$name;

            fn freeze(live: id::$name) -> Self {
                Self(live.0)
            }

            fn thaw(self) -> id::$name {
                id::$name(self.0)
            }
        }
    )*};
}

frozen_ids! {
    PodId;
    BootId;
}
