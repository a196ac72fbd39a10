//! Crash points: places within an effect where dying would leave something different behind.

/// Says that the walk has reached `name`.
///
/// A crash harness counts these events on the real code path and kills the process at the n-th.
/// They are events and nothing else: no switch, no environment variable, no second code path.
pub(crate) fn reached(name: &'static str) {
    tracing::trace!(target: "podwalk::point", point = name);
}
