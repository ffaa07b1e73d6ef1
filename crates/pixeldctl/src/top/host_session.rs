use std::{convert::Infallible, time::Duration};

use pixeld_control::StatsStream;
use tokio::{
    select,
    sync::{mpsc, watch},
    time::sleep,
};

use super::model::HostUpdate;
use crate::{
    args::Purpose,
    control_connection::ControlConnection,
    error::CommandError,
    fanout::{MAX_RECONNECT_DELAY, MIN_RECONNECT_DELAY},
    host_target::HostTarget,
    status::Status,
};

/// The interval between two samples; the user may change it.
pub type Interval = watch::Receiver<Duration>;
/// Updates, with the number of their host.
pub type UpdateSender = mpsc::Sender<(usize, HostUpdate)>;

/// Two connections to a daemon: one streams statistics, the other is for queries.
pub struct HostSession {
    stream: ControlConnection<StatsStream>,
    connection: ControlConnection,
    sample: Status,
}

impl HostSession {
    /// Connects, and waits for the first sample.
    pub async fn open(
        target: &HostTarget,
        interval: Duration,
        limit: Duration,
    ) -> Result<Self, CommandError> {
        // One after the other: ssh may ask for a password for each.
        let mut stream = stream(target, interval, limit).await?;
        let stats = stream.call(StatsStream::next).await?;
        let mut connection = ControlConnection::open(target, Purpose::Read, limit).await?;
        let sample = connection.call(async |client| Status::complete(stats, client).await).await?;
        Ok(Self { stream, connection, sample })
    }

    /// Sends updates until an error occurs.
    async fn watch(
        mut self,
        target: &HostTarget,
        limit: Duration,
        interval: &mut Interval,
        send: impl AsyncFn(HostUpdate),
    ) -> Result<Infallible, CommandError> {
        loop {
            send(HostUpdate::Sample(self.sample.clone().into())).await;
            let stats = select! {
                stats = self.stream.call(StatsStream::next) => Some(stats?),
                Ok(()) = interval.changed() => None,
            };
            if let Some(stats) = stats {
                self.sample =
                    self.connection.call(async |client| Status::complete(stats, client).await).await?;
            } else {
                let every = *interval.borrow_and_update();
                self.stream = stream(target, every, limit).await?;
            }
        }
    }
}

async fn stream(
    target: &HostTarget,
    interval: Duration,
    limit: Duration,
) -> Result<ControlConnection<StatsStream>, CommandError> {
    let connection = ControlConnection::open(target, Purpose::Read, limit).await?;
    connection.watch(async |client| client.watch_stats(interval).await).await
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
        let ended = match session {
            Ok(session) => {
                delay = MIN_RECONNECT_DELAY;
                session.watch(target, limit, &mut interval, &send).await
            }
            Err(error) => Err(error),
        };
        let Err(error) = ended;
        send(HostUpdate::Unreachable(error.to_string().trim().replace('\n', "; "))).await;
        sleep(delay).await;
        delay = (delay * 2).min(MAX_RECONNECT_DELAY);
        let every = *interval.borrow_and_update();
        session = HostSession::open(target, every, limit).await;
    }
}
