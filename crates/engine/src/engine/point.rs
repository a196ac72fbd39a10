//! The moments between which a crash leaves different things behind.

/// Tells whoever listens that the moment has come. In production nobody does;
/// the crash harness ends the process at the n-th.
pub(crate) fn reached(point: &'static str) {
    tracing::trace!(target: "podwalk::point", point);
}
