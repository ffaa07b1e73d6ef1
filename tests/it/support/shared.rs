//! What the tests of one daemon and those of whole hosts have in common.

use std::{
    io::{self, BufRead, ErrorKind},
    thread,
    time::{Duration, Instant},
};

/// A valid body, and the response to it.
pub const PIXEL: &str = r#"{"x":10,"y":20,"channel":"R","value":255}"#;
pub const ECHO: &str = r#"{"status":"ok","received":{"x":10,"y":20,"channel":"R","value":255}}"#;

/// Polls until there is a value; panics when the time is over.
#[track_caller]
pub fn wait_for_some<T>(what: &str, bound: Duration, mut poll: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(value) = poll() {
            return value;
        }
        assert!(begin.elapsed() < bound, "not within {bound:?}: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Waits for the next byte; false at the end of the stream. The kernel does not restart a call on a socket with a
/// timeout if a signal interrupts it, such as SIGCONT (signal(7)).
pub fn has_more(stream: &mut impl BufRead) -> io::Result<bool> {
    loop {
        match stream.fill_buf() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => return Ok(!read?.is_empty()),
        }
    }
}
