use std::{io, os::fd::OwnedFd, sync::Arc};

use super::state::now_unix_ms;
use crate::{
    control::PeerCredentials,
    log::{Event, Log},
    stats::{SharedStats, read_drained},
    systemd::{COUNTERS, Notifier},
};

/// The counters that count from now on.
#[derive(Debug)]
pub struct Opened {
    pub memory: Arc<SharedStats>,
    /// Whether the service manager keeps others, too, that nobody will go on with.
    has_remains: bool,
}

/// Goes on with the newest of the counters that the service manager has kept, as far as they are of
/// this version, or else begins anew. This start is counted.
///
/// # Errors
/// When there is no memory for new ones.
pub fn open(kept: Vec<OwnedFd>, log: &Log) -> io::Result<Opened> {
    let count = kept.len();
    // Of the newest, whatever its version: an upgrade puts no host back into service.
    let drained = kept.iter().find_map(read_drained);
    let (memory, has_remains) = match adopt(kept) {
        Ok(memory) => (memory, count > 1),
        Err(error) => {
            // Told once, however many there are.
            if let Some(error) = error {
                log.send(Event::CountersReset { reason: error.to_string() });
            }
            (SharedStats::create(now_unix_ms())?, count > 0)
        }
    };
    if let Some(drained) = drained {
        memory.set_drained(drained);
    }
    memory.starts.add(1);
    if let Some(by) = memory.drained_by() {
        log.send(Event::DrainedAtStart { by: PeerCredentials { pid: by.pid, uid: by.uid }.to_string() });
    }
    Ok(Opened { memory: Arc::new(memory), has_remains })
}

/// The first that can be gone on with, or why the newest cannot; `None` where there are none.
fn adopt(kept: Vec<OwnedFd>) -> Result<SharedStats, Option<io::Error>> {
    let mut newest = None;
    for file in kept {
        match SharedStats::adopt(file) {
            Ok(memory) => return Ok(memory),
            Err(error) => newest = newest.or(Some(error)),
        }
    }
    Err(newest)
}

impl Opened {
    /// Has the service manager keep these counters, and no others: what is left of another version would
    /// be passed to each process to come, and take up room in a store that has little.
    ///
    /// # Errors
    /// When it cannot be told.
    pub fn keep(&self, notifier: &Notifier) -> io::Result<()> {
        if self.has_remains {
            // By name, so these go, too; nothing is lost, for this process has them.
            notifier.remove_stored(COUNTERS)?;
        }
        notifier.store(COUNTERS, &*self.memory)
    }
}
