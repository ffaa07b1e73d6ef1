use std::{io, os::fd::OwnedFd};

use super::house::now_unix_ms;
use crate::{
    control::Caller,
    log::{Event, Log},
    stats::Memory,
};

/// Goes on with the counters that the service manager has kept, or else begins anew. This start is
/// counted.
///
/// # Errors
/// When there is no memory for new ones.
pub fn open(kept: Option<OwnedFd>, log: &Log) -> io::Result<Memory> {
    let adopted = kept.and_then(|file| {
        Memory::adopt(file)
            .inspect_err(|error| log.send(Event::CountersLost { reason: error.to_string() }))
            .ok()
    });
    let memory = match adopted {
        Some(memory) => memory,
        None => Memory::create(now_unix_ms())?,
    };
    memory.starts.add(1);
    if let Some(by) = memory.drained_by() {
        log.send(Event::StillDrained { by: Caller { pid: by.pid, uid: by.uid }.to_string() });
    }
    Ok(memory)
}
