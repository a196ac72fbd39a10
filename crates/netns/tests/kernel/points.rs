//! What hears the crash points.

use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span;

/// A subscriber that does something at each crash point, given its name.
pub(crate) struct AtPoint<F>(pub(crate) F);

/// The names of the crash points in their order.
#[derive(Default)]
pub(crate) struct Points(Arc<Mutex<Vec<String>>>);

impl Points {
    /// Those since the last call.
    pub(crate) fn taken(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    /// The subscriber that keeps them.
    pub(crate) fn subscriber(&self) -> AtPoint<impl Fn(&str) + Send + Sync + 'static> {
        let names = self.0.clone();
        AtPoint(move |point: &str| names.lock().unwrap().push(point.to_owned()))
    }
}

/// Takes an event's one field, the point's name.
struct Name<'a, F>(&'a F);

impl<F: Fn(&str)> Visit for Name<'_, F> {
    fn record_str(&mut self, field: &Field, value: &str) {
        assert_eq!(field.name(), "point");
        (self.0)(value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        panic!("{} = {value:?} is no name", field.name());
    }
}

impl<F: Fn(&str) + Send + Sync + 'static> tracing::Subscriber for AtPoint<F> {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "podwalk::point"
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut Name(&self.0));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}
