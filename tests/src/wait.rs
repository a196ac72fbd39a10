//! Waiting for a condition that the kernel does not announce.

use std::time::{Duration, Instant};

/// The time between two looks. It decides how soon a change is seen, never whether it is.
const PAUSE: Duration = Duration::from_millis(5);

/// Asks `look` until it has an answer, and gives that; `None` when `within` has gone by without one.
///
/// The deadline guards against a hang and is no measure of speed: choose it generously.
///
/// # Errors
/// The first error of `look`.
pub fn until<T>(
    within: Duration,
    mut look: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<Option<T>> {
    let end = Instant::now() + within;
    loop {
        if let Some(found) = look()? {
            return Ok(Some(found));
        }
        if Instant::now() >= end {
            return Ok(None);
        }
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_ends_the_wait() {
        let mut looks = 0;
        let found = until(Duration::from_secs(60), || {
            looks += 1;
            Ok((looks == 3).then_some(looks))
        });
        assert_eq!(found.unwrap(), Some(3));
    }

    #[test]
    fn no_answer_is_none_and_was_looked_for_at_least_once() {
        let mut looks = 0;
        let found = until(Duration::ZERO, || {
            looks += 1;
            Ok(None::<()>)
        });
        assert_eq!((found.unwrap(), looks), (None, 1));
    }

    #[test]
    fn an_error_ends_the_wait() {
        let found = until(Duration::from_secs(60), || -> anyhow::Result<Option<()>> {
            anyhow::bail!("unreadable")
        });
        assert_eq!(found.unwrap_err().to_string(), "unreadable");
    }
}
