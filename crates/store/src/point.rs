//! Crash points.

/// Marks a moment at which a crash leaves something different behind. The
/// crash harness counts these events and kills the daemon at the n-th.
macro_rules! point {
    ($name:literal) => {
        tracing::trace!(target: "podwalk::point", point = $name)
    };
}

pub(crate) use point;
