use std::{io, os::fd::OwnedFd, sync::Arc, time::SystemTime};

use crate::{
    control::unix_ms,
    log::{Event, Log},
    stats::{SharedStats, read_drained},
    systemd::{COUNTERS, Notifier},
};

/// The counters of this process, adopted or new.
#[derive(Debug)]
pub struct Counters {
    pub memory: Arc<SharedStats>,
    /// Whether systemd also stores other counters, which no process will adopt.
    has_stale: bool,
}

/// Adopts the newest stored counters of this version, or else creates new ones. Counts this start.
///
/// # Errors
/// When there is no memory for new counters.
pub fn open(stored: Vec<OwnedFd>, log: &Log) -> io::Result<Counters> {
    let count = stored.len();
    // The drained state of the newest counters of any version, so that an upgrade does not resume a drained host.
    let drained = stored.iter().find_map(read_drained);
    let (memory, has_stale) = match adopt(stored) {
        Ok(memory) => (memory, count > 1),
        Err(error) => {
            // Logged once for all stored counters.
            if let Some(error) = error {
                log.send(Event::CountersReset { reason: error.to_string() });
            }
            (SharedStats::create(unix_ms(SystemTime::now()))?, count > 0)
        }
    };
    if let Some(drained) = drained {
        memory.set_drained(drained);
    }
    memory.starts.add(1);
    if let Some(by) = memory.drained_by() {
        log.send(Event::DrainedAtStart { by: by.into() });
    }
    Ok(Counters { memory: Arc::new(memory), has_stale })
}

/// Adopts the first usable counters, or returns the error of the newest; `None` if there are none.
fn adopt(stored: Vec<OwnedFd>) -> Result<SharedStats, Option<io::Error>> {
    let mut newest = None;
    for file in stored {
        match SharedStats::adopt(file) {
            Ok(memory) => return Ok(memory),
            Err(error) => newest = newest.or(Some(error)),
        }
    }
    Err(newest)
}

impl Counters {
    /// Has systemd store these counters and remove others. systemd would pass the counters of another version to each
    /// later process, and they would fill its small store.
    pub fn store(&self, notifier: &Notifier) -> io::Result<()> {
        if self.has_stale {
            // This removes all counters by name. This process still has its own.
            notifier.remove_stored(COUNTERS)?;
        }
        notifier.store(COUNTERS, &*self.memory)
    }
}
