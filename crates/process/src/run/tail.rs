//! The end of a text of any length.

/// Keeps the last bytes of what is pushed.
pub(super) struct Tail {
    bytes: Vec<u8>,
    kept: usize,
}

impl Tail {
    pub(super) fn new(kept: usize) -> Self {
        Tail {
            bytes: Vec::new(),
            kept,
        }
    }

    pub(super) fn push(&mut self, chunk: &[u8]) {
        self.bytes.extend_from_slice(chunk);
        // Cut only when it is twice as long, so that each byte is moved once on average.
        if self.bytes.len() > 2 * self.kept {
            self.cut();
        }
    }

    /// What is kept, as text; bytes that are none are replaced.
    pub(super) fn text(&mut self) -> String {
        self.cut();
        String::from_utf8_lossy(&self.bytes).trim().to_owned()
    }

    fn cut(&mut self) {
        let excess = self.bytes.len().saturating_sub(self.kept);
        self.bytes.drain(..excess);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_last_bytes_are_kept(chunks in proptest::collection::vec("[a-z]{0,9}", 0..30)) {
            let mut tail = Tail::new(10);
            for chunk in &chunks {
                tail.push(chunk.as_bytes());
                prop_assert!(tail.bytes.len() <= 2 * 10);
            }
            let all = chunks.concat();
            prop_assert_eq!(tail.text(), &all[all.len().saturating_sub(10)..]);
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        let mut tail = Tail::new(10);
        tail.push(b" a\xffb\n");
        assert_eq!(tail.text(), "a\u{fffd}b");
    }
}
