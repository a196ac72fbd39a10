//! The moments within an effect at which a crash leaves something different behind.

/// Tells whoever listens that the moment `point` has come. In production nobody does.
pub(crate) fn reached(point: &'static str) {
    tracing::trace!(target: "podwalk::point", point = point);
}
