use std::time::Duration;

use pixeld_control::{StatsStream, WorkersReply};
use tokio::{
    select,
    sync::{mpsc, watch},
    time::sleep,
};

use super::{host::HostSample, model::HostUpdate};
use crate::{
    args::Purpose,
    control_connection::{ControlConnection, Transport},
    error::CommandError,
    fanout::{MAX_RECONNECT_DELAY, MIN_RECONNECT_DELAY},
    host_target::HostTarget,
};

/// The interval between two samples; the user may change it.
pub type Interval = watch::Receiver<Duration>;
/// Updates, with the number of their host.
pub type UpdateSender = mpsc::Sender<(usize, HostUpdate)>;

/// Two connections to a daemon: one streams statistics, the other is for queries.
pub struct HostSession {
    stream: StatsStream,
    transport: Transport,
    connection: ControlConnection,
    sample: HostSample,
}

impl HostSession {
    /// Connects, and waits for the first sample.
    pub async fn open(
        target: &HostTarget,
        interval: Duration,
        limit: Duration,
    ) -> Result<Self, CommandError> {
        // One after the other: ssh may ask for a password for each.
        let (mut stream, transport) = stream(target, interval, limit).await?;
        let stats = match stream.next().await {
            Ok(stats) => stats,
            Err(error) => return Err(transport.explain(error).await),
        };
        let mut connection = ControlConnection::open(target, Purpose::Read, limit).await?;
        let asked = async { Ok((connection.workers().await?, connection.events().await?.events)) };
        match asked.await {
            Ok((workers, events)) => {
                Ok(Self { stream, transport, connection, sample: HostSample { stats, workers, events } })
            }
            Err(error) => Err(connection.explain(error).await),
        }
    }

    /// Sends updates until an error occurs; returns it.
    async fn watch(
        self,
        target: &HostTarget,
        limit: Duration,
        interval: &mut Interval,
        send: impl AsyncFn(HostUpdate),
    ) -> CommandError {
        let Self { mut stream, mut transport, mut connection, mut sample } = self;
        loop {
            send(HostUpdate::Sample(sample.clone().into())).await;
            let next = select! {
                next = stream.next() => Some(next),
                Ok(()) = interval.changed() => None,
            };
            sample.stats = match next {
                Some(Ok(stats)) => stats,
                Some(Err(error)) => return transport.explain(error).await,
                None => {
                    let every = *interval.borrow_and_update();
                    (stream, transport) = match self::stream(target, every, limit).await {
                        Ok(changed) => changed,
                        Err(error) => return error,
                    };
                    continue;
                }
            };
            let asked: Result<(WorkersReply, _), _> =
                async { Ok((connection.workers().await?, connection.events().await?)) }.await;
            match asked {
                Ok((workers, events)) => (sample.workers, sample.events) = (workers, events.events),
                Err(error) => return connection.explain(error).await,
            }
        }
    }
}

async fn stream(
    target: &HostTarget,
    interval: Duration,
    limit: Duration,
) -> Result<(StatsStream, Transport), CommandError> {
    let (client, transport) = ControlConnection::open(target, Purpose::Read, limit).await?.into_parts();
    match client.watch_stats(interval).await {
        Ok(stream) => Ok((stream, transport)),
        Err(error) => Err(transport.explain(error).await),
    }
}

/// Follows a daemon through its restarts; never returns.
pub async fn follow(
    number: usize,
    target: &HostTarget,
    limit: Duration,
    mut session: Result<HostSession, CommandError>,
    mut interval: Interval,
    sender: UpdateSender,
) {
    // Without a receiver, the program is about to end.
    let send = async |update| drop(sender.send((number, update)).await);
    let mut delay = MIN_RECONNECT_DELAY;
    loop {
        let error = match session {
            Ok(session) => {
                delay = MIN_RECONNECT_DELAY;
                session.watch(target, limit, &mut interval, &send).await
            }
            Err(error) => error,
        };
        send(HostUpdate::Unreachable(error.to_string().trim().replace('\n', "; "))).await;
        sleep(delay).await;
        delay = (delay * 2).min(MAX_RECONNECT_DELAY);
        let every = *interval.borrow_and_update();
        session = HostSession::open(target, every, limit).await;
    }
}
