//! What is asked of handlers whose sandbox has a network stack of its own.
