use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls `f`, and returns `None` if it panics, so that a bug costs one request. The panic hook logs the message.
pub fn catch_panic<T>(f: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(f)).ok()
}
