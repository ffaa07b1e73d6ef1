use std::panic;

use crate::log::{Event, Log};

/// Tells the log of every panic, with its message and its place, instead of stderr.
pub fn tell_log(log: Log) {
    panic::set_hook(Box::new(move |info| {
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        log.send(Event::Panicked { reason: format!("Thread {thread}: {info}").replace('\n', " ") });
    }));
}
