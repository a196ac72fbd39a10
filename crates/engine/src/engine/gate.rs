//! How many walks of an earlier life run at once.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use futures_channel::oneshot;

/// A counting gate: first come, first served.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    line: Arc<Mutex<Line>>,
}

#[derive(Debug)]
struct Line {
    free: usize,
    waiting: VecDeque<oneshot::Sender<Pass>>,
}

/// Held while inside.
#[derive(Debug)]
pub(crate) struct Pass {
    gate: Option<Gate>,
}

impl Gate {
    pub(crate) fn new(at_once: usize) -> Self {
        let line = Line {
            free: at_once.max(1),
            waiting: VecDeque::new(),
        };
        Self {
            line: Arc::new(Mutex::new(line)),
        }
    }

    pub(crate) async fn enter(&self) -> Pass {
        let turn = {
            let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
            if line.free > 0 {
                line.free -= 1;
                return self.pass();
            }
            let (sender, turn) = oneshot::channel();
            line.waiting.push_back(sender);
            turn
        };
        // The sender lives in the line until it is used, so this cannot fail;
        // if it ever did, going in is safe: the gate only spares the host.
        turn.await.unwrap_or(Pass { gate: None })
    }

    fn pass(&self) -> Pass {
        Pass {
            gate: Some(self.clone()),
        }
    }

    fn leave(&self) {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        line.free += 1;
        let next = line.waiting.pop_front();
        if next.is_some() {
            line.free -= 1;
        }
        drop(line);
        if let Some(next) = next {
            // Whoever gave up waiting drops the pass, and so leaves.
            let _ = next.send(self.pass());
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(gate) = self.gate.take() {
            gate.leave();
        }
    }
}
