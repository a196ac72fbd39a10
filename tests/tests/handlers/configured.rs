//! What the configuration says of a handler.
