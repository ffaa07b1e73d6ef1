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
    /// Whether the service manager stores others, too, that no process will adopt.
    has_stale: bool,
}

/// Adopts the newest of the counters that the service manager has stored, if they are of this version, or else
/// creates new ones. Counts this start.
///
/// # Errors
/// When there is no memory for new ones.
pub fn open(stored: Vec<OwnedFd>, log: &Log) -> io::Result<Counters> {
    let count = stored.len();
    // Of the newest, whatever its version: an upgrade puts no host back into service.
    let drained = stored.iter().find_map(read_drained);
    let (memory, has_stale) = match adopt(stored) {
        Ok(memory) => (memory, count > 1),
        Err(error) => {
            // Logged once, however many there are.
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

/// Adopts the first that can be, or returns why the newest cannot; `None` if there are none.
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
    /// Has the service manager store these counters, and no others: those of another version would be passed to
    /// each later process, and fill a store that is small.
    ///
    /// # Errors
    /// When it cannot be told.
    pub fn store(&self, notifier: &Notifier) -> io::Result<()> {
        if self.has_stale {
            // By name, so these go, too; nothing is lost, for this process has them.
            notifier.remove_stored(COUNTERS)?;
        }
        notifier.store(COUNTERS, &*self.memory)
    }
}
