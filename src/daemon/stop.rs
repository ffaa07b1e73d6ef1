use std::{
    io::ErrorKind,
    iter::from_fn,
    thread::ThreadId,
    time::{Duration, Instant},
};

use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{interval, sleep, timeout},
};

use super::{
    house::House,
    run::{StopSignals, TICK},
};
use crate::{
    http::Parked,
    log::{Event, counted},
    systemd,
    worker::{Outbox, pair},
};

/// Without a service manager that keeps connections, each may have one more answer, for so long.
const LAST_ANSWERS: Duration = Duration::from_millis(250);
/// The service manager may take so long to take something.
const PATIENCE: Duration = Duration::from_secs(3);

/// Lets all requests finish and all workers end, and leaves the connections for the next process where
/// that is possible. Accepting has ended already.
pub async fn stop(
    house: &House,
    outbox: Option<Outbox>,
    ended_workers: &mut UnboundedReceiver<ThreadId>,
    stop_signals: &mut StopSignals,
) {
    let begun = Instant::now();
    let limit = house.drain_limit();
    let mut heir = outbox.and_then(|outbox| Heir::find(house, outbox));
    if heir.is_none() {
        house.pool.borrow().retire();
    }
    let mut ticks = interval(TICK);
    let drained = timeout(limit, async {
        let mut last_answers = heir.is_none();
        while !house.pool.borrow().is_empty() {
            if last_answers && (begun.elapsed() >= LAST_ANSWERS || house.pool.borrow().open() == 0) {
                house.pool.borrow_mut().drain();
                last_answers = false;
            }
            tokio::select! {
                Some(worker) = ended_workers.recv() => house.pool.borrow_mut().ended(worker),
                _ = ticks.tick() => tell(house, limit.saturating_sub(begun.elapsed())),
                () = sleep(LAST_ANSWERS / 10), if last_answers => {}
                // Told twice: whoever does that does not want to wait.
                _ = stop_signals.recv() => break,
            }
        }
    });
    let _ = drained.await;
    if let Some(heir) = &mut heir {
        heir.leave(house);
    }
    let cut = house.pool.borrow().open() as u64;
    house.pool.borrow().abort();
    house.log.send(Event::Stopped {
        requests: house.sample().total,
        handed_over: heir.map_or(0, |heir| heir.left),
        cut,
        took: begun.elapsed(),
    });
}

/// The next process, as far as it can be reached: through sockets that the service manager keeps.
struct Heir {
    outbox: Outbox,
    given_up: UnboundedReceiver<Parked>,
    left: u64,
}

impl Heir {
    /// Has the workers give everything up for it; `None` where nobody keeps anything.
    fn find(house: &House, outbox: Outbox) -> Option<Self> {
        is_kept(house, &outbox).then(|| Self {
            outbox,
            given_up: house.pool.borrow_mut().hand_over(),
            left: 0,
        })
    }

    /// Leaves everything that was given up. All at once: a message takes nearly as much room with one
    /// connection as with hundreds, and the service manager keeps few sockets.
    fn leave(&mut self, house: &House) {
        let mut connections: Vec<_> = from_fn(|| self.given_up.try_recv().ok()).collect();
        let count = connections.len() as u64;
        let mut sent = self.outbox.send(&mut connections);
        while sent.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
            && let Some(outbox) = open_outbox(house).filter(|outbox| is_kept(house, outbox))
        {
            self.outbox = outbox;
            sent = self.outbox.send(&mut connections);
        }
        self.left += count - connections.len() as u64;
        if let Err(error) = sent {
            let (connections, reason) = (connections.len() as u64, error.to_string());
            house.log.send(Event::HandOverFailed { connections, reason });
        }
    }
}

/// A socket whose other end the service manager is asked to keep; `None` where there is none. One that
/// keeps nothing (FileDescriptorStoreMax=0) closes that end when it finds the time, even after it has
/// said that it is done. So this is for the start of the daemon: when it stops, it shows.
pub fn open_outbox(house: &House) -> Option<Outbox> {
    if !systemd::is_managed() {
        return None;
    }
    let (outbox, far) = pair().ok()?;
    house.ask(|notifier| notifier.store(systemd::CONNECTIONS, &far)).ok()?;
    Some(outbox)
}

/// Whether the service manager, once it has dealt with everything that it was told, has the other end.
fn is_kept(house: &House, outbox: &Outbox) -> bool {
    house.ask(|notifier| notifier.wait(PATIENCE)).is_ok() && outbox.is_kept()
}

/// What is left to do, and for how long systemd has to wait for it.
fn tell(house: &House, left: Duration) {
    let open = counted(house.pool.borrow().open(), "connection");
    let status = format!("Stopping: {open} open, {} s left", left.as_secs());
    house.notify(|notifier| notifier.stopping(&status, left + TICK * 5));
    house.notify(|notifier| notifier.alive());
}
