use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::Arc,
    thread,
};

use tokio::{sync::Notify, task::spawn_local};

use super::{
    dispatcher::{Dispatched, Dispatcher},
    shared_state::SharedState,
};
use crate::{
    connection::{self, DetachedConnection, ServeOutcome, WorkerContext},
    stats::Outcome,
};

/// Serves connections on the thread of a worker.
#[derive(Debug)]
pub struct ConnectionServer {
    pub context: Rc<WorkerContext>,
    dispatcher: Arc<Dispatcher>,
    /// Notified when a connection is closed or detached.
    closed: Notify,
}

impl ConnectionServer {
    pub fn new(context: Rc<WorkerContext>, shared: &SharedState) -> Self {
        Self { context, dispatcher: shared.dispatcher.clone(), closed: Notify::new() }
    }

    /// Serves a connection that was assigned to this worker. One that stays open gets a task of its own.
    pub fn serve(self: &Rc<Self>, connection: DetachedConnection) {
        self.context.stats.connections_assigned.add(1);
        let guard = ConnectionGuard(self.clone());
        // Here, as in a task, a panic costs one connection only. The panic hook logs the message.
        let _ = catch_unwind(AssertUnwindSafe(move || {
            let context = guard.0.context.clone();
            let end = move |outcome| {
                if let ServeOutcome::Detached(connection) = outcome {
                    guard.redispatch(connection);
                }
            };
            // Not joined: the task ends with the runtime at the latest.
            connection::serve(connection, context, end).map(spawn_local)
        }));
    }

    /// Waits until a connection is closed or detached.
    pub async fn connection_closed(&self) {
        self.closed.notified().await;
    }
}

/// Counts a connection as closed when dropped, also after a panic.
struct ConnectionGuard(Rc<ConnectionServer>);

impl ConnectionGuard {
    /// Gives the connection to another worker or process. It counts as closed here before it counts there.
    fn redispatch(self, connection: DetachedConnection) {
        let server = self.0.clone();
        drop(self);
        let stats = &server.context.stats;
        match server.dispatcher.redispatch(connection) {
            Dispatched::ToWorker => stats.connections_migrated.add(1),
            Dispatched::HandedOff => stats.connections_handed_off.add(1),
            Dispatched::Closed => {}
        }
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        let ConnectionServer { context, dispatcher, closed } = &*self.0;
        if thread::panicking() {
            // No response could be sent. The panic hook has logged the reason.
            context.stats.record_outcome(Outcome::Failed);
        }
        context.stats.connection_closed();
        dispatcher.connection_closed();
        closed.notify_one();
    }
}
