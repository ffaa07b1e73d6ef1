use std::panic::{AssertUnwindSafe, catch_unwind};

/// Returns what `parse` returns, or `None` if it panics: a fault in parsing costs one request. The panic hook
/// has logged the message.
pub fn catch_panic<T>(parse: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(parse)).ok()
}
