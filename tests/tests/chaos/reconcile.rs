//! What a client believes, held against the daemon's list.

use anyhow::{Result, anyhow, ensure};
use serde_json::Value;

use super::client::{Belief, Place};

/// As asked, or on no way any more; a guest without its owner counts as such.
pub(super) fn is_at_rest(row: &Value) -> bool {
    let mode = row["networkMode"].as_str().unwrap_or_default();
    let is_guest = mode.starts_with("pod:");
    let started = row["state"] == "Started" && (row["ready"] == true || is_guest);
    let at_rest = match row["goal"].as_str() {
        Some("Run") => started,
        Some("Stop") => row["state"] == "Created",
        _ => false,
    };
    at_rest && row["owed"] == 0
}

/// Compares what is believed of a name with the list, and believes the list where it may. After a
/// reboot nothing runs, and what ran or was to run is stopped.
pub(super) fn reconcile(place: &mut Place, rows: &[Value], rebooted: bool) -> Result<()> {
    let mine: Vec<&Value> = rows
        .iter()
        .filter(|row| row["name"] == place.name.as_str())
        .collect();
    let find = |id: &str| mine.iter().find(|row| row["id"] == id);
    let back = place.gone.iter().find(|id| find(id).is_some());
    ensure!(back.is_none(), "a removed pod is back");
    let goal = |id: &str| find(id).and_then(|row| row["goal"].as_str());
    if let Some(former) = &mut place.former {
        match goal(&former.id) {
            Some("Stop") => {}
            None if former.removing => place.former = None,
            other => return Err(anyhow!("the former pod has the goal {other:?}")),
        }
    }
    let former = place.former.as_ref().map(|former| former.id.as_str());
    let others = mine
        .iter()
        .filter_map(|row| row["id"].as_str())
        .filter(|id| Some(*id) != former);
    let others: Vec<&str> = others.collect();
    ensure!(others.len() <= 1, "more than one pod");
    let only = others.first().map(|id| (*id).to_owned());
    let is = only.clone().and_then(|id| goal(&id));
    let same = |id: &String| only.as_ref() == Some(id);
    place.belief = match (&place.belief, is) {
        (Belief::Nothing | Belief::Perhaps, None) => Belief::Nothing,
        (belief, Some("Run")) if rebooted => {
            return Err(anyhow!("{belief:?}, and after a reboot it is to run"));
        }
        (Belief::Perhaps, Some("Stop")) if rebooted => Belief::Stopped(only.unwrap_or_default()),
        (Belief::Up(id), Some("Stop")) if rebooted && same(id) => Belief::Stopped(id.clone()),
        (Belief::Perhaps, Some("Run")) => Belief::Up(only.unwrap_or_default()),
        (Belief::Up(id), Some("Run")) if same(id) => Belief::Up(id.clone()),
        (Belief::Stopped(id), Some("Stop")) if same(id) => Belief::Stopped(id.clone()),
        (Belief::Stopping(id) | Belief::Removing(id), Some("Run")) if same(id) => {
            Belief::Up(id.clone())
        }
        (Belief::Stopping(id) | Belief::Removing(id), Some("Stop")) if same(id) => {
            Belief::Stopped(id.clone())
        }
        (Belief::Removing(_), None) => Belief::Nothing,
        (belief, goal) => return Err(anyhow!("{belief:?}, but the goal is {goal:?}")),
    };
    Ok(())
}
