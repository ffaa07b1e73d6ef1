use std::panic::{AssertUnwindSafe, catch_unwind};

/// Judges a body. A fault in the judging is one client's, not everybody's: where it panics there is no
/// judgement, and the panic hook has logged its message.
pub fn catch_panic<'b, T>(body: &'b [u8], judge: impl FnOnce(&'b [u8]) -> T) -> Option<T> {
    let judge = || {
        #[cfg(test)]
        stumble(body);
        judge(body)
    };
    catch_unwind(AssertUnwindSafe(judge)).ok()
}

/// A body that makes parsing panic, for tests.
#[cfg(test)]
pub const STUMBLING_BLOCK: &str = r#"{"x":1,"y":2,"channel":"G","value":13}"#;

#[cfg(test)]
fn stumble(body: &[u8]) {
    assert!(body != STUMBLING_BLOCK.as_bytes(), "a fault that nobody knew of");
}
