//! What happened before the journal was opened, as far as it still tells.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use crate::pod::{Listing, Obituary, Pod, fold};
use crate::record::{Entry, Record};

use super::{Told, describe};

/// A record's place: by the wall clock, which alone goes on over boots, and then within its pod. Of
/// a pod whose clock was set back the later records count as made at the same time, so that they
/// stay in their order.
type Place = (u64, usize, usize);

/// The youngest `most` events that a journal's records tell, the oldest first. Of a pod that was
/// folded into a snapshot only what came later is told, of one that is gone only its end.
pub(super) fn recall(pods: &[Vec<Entry>], graves: &[Obituary], most: usize) -> Vec<Told> {
    let mut youngest = BinaryHeap::new();
    let mut consider = |place: Place| {
        youngest.push(Reverse(place));
        if youngest.len() > most {
            youngest.pop();
        }
    };
    for (pod, entries) in pods.iter().enumerate() {
        let mut latest = 0;
        for (number, entry) in entries.iter().enumerate() {
            latest = entry.stamp.wall_ns.max(latest);
            if !matches!(entry.record, Record::Intent(_) | Record::Snapshot(_)) {
                consider((latest, pod, number));
            }
        }
    }
    for (grave, obituary) in graves.iter().enumerate() {
        consider((obituary.pod.last.wall_ns, pods.len() + grave, 0));
    }
    let mut places: Vec<Place> = youngest.into_iter().map(|Reverse(place)| place).collect();
    places.sort_unstable();
    let told = places.into_iter().filter_map(|(_, pod, number)| {
        match (pods.get(pod), pod.checked_sub(pods.len())) {
            (Some(entries), _) => of_record(entries, number),
            (None, grave) => graves.get(grave?).map(of_grave),
        }
    });
    told.collect()
}

/// What one record says, with the pod as it was right after it; the first two are of one batch.
fn of_record(entries: &[Entry], number: usize) -> Option<Told> {
    let known = entries.get(..entries.len().min(number.max(1) + 1))?;
    let pod: Pod = fold(known).ok()?;
    let entry = entries.get(number)?;
    let (what, detail) = describe(&entry.record, &pod)?;
    let earlier = entries.get(..number).and_then(|known| fold(known).ok());
    Some(Told {
        stamp: entry.stamp,
        what,
        detail,
        was: earlier.map_or(Listing::Unlisted, |pod| pod.listing()),
        is: pod.listing(),
        pod: Arc::new(pod),
    })
}

fn of_grave(obituary: &Obituary) -> Told {
    let pod = obituary.pod.clone();
    Told {
        stamp: pod.last,
        what: "removed",
        detail: String::new(),
        was: pod.listing(),
        is: Listing::Unlisted,
        pod: Arc::new(pod),
    }
}
