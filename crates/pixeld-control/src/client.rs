use std::{io, path::Path, sync::Arc, time::Duration};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use tokio::{net::UnixStream, time::timeout};
use zlink::{Call, varlink_service};

use super::{
    INTERFACE,
    framing::{AnyCall, MessageReader, encode, write},
    handler::Claim,
    sanitize,
    types::{
        ConfigReply, ControlError, DrainReply, EventsReply, ReloadReply, ResumeReply, SetLogLevelReply,
        SetWorkersReply, Stats, StatsReply, WatchEventsReply, WorkersReply,
    },
    well_known::{self, ServiceInfo},
};

/// A connection to a running daemon. The texts in its replies, and in its errors, are sanitized
/// ([`sanitize::escape`]) where they are decoded.
#[derive(Debug)]
pub struct ControlClient {
    stream: Arc<UnixStream>,
    replies: MessageReader,
    limit: Duration,
    has_exact_texts: bool,
    /// Sent before the first change.
    claim: Option<Claim>,
}

/// The error of a call.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Connecting failed.
    #[error("{0}")]
    Connect(io::Error),
    /// The daemon rejected the call.
    #[error("{0}")]
    Refused(ControlError),
    /// The daemon does not know the method: it has another version, or is another program.
    #[error("the daemon does not know the call: {0}")]
    Unknown(String),
    /// The daemon closed the connection.
    #[error("the daemon closed the connection")]
    Closed,
    /// The reply is not valid Varlink, or lacks fields.
    #[error("the response cannot be understood: {0}")]
    Protocol(String),
    /// The daemon did not reply in time.
    #[error("no response within {}", humantime::format_duration(*.0))]
    TimedOut(Duration),
    /// The daemon did not reply to a change in time, and may make it nevertheless.
    #[error("no response within {}", humantime::format_duration(*.0))]
    ChangeTimedOut(Duration),
}

impl ControlClient {
    /// Connects to a control socket. Connecting and each call may take up to `limit`.
    ///
    /// # Errors
    /// [`CallError::Connect`] or [`CallError::TimedOut`].
    pub async fn connect(path: &Path, limit: Duration) -> Result<Self, CallError> {
        let stream =
            timeout(limit, UnixStream::connect(path)).await.map_err(|_| CallError::TimedOut(limit))?;
        Ok(Self::over(stream.map_err(CallError::Connect)?, limit))
    }

    /// Uses a stream that leads to a control socket, such as one of ssh. Each call may take up to `limit`.
    pub fn over(stream: UnixStream, limit: Duration) -> Self {
        let stream = Arc::new(stream);
        let replies = MessageReader::of_replies(stream.clone());
        Self { stream, replies, limit, has_exact_texts: false, claim: None }
    }

    /// Leaves the texts in replies as they were sent if `has_exact_texts`. Texts in errors are always sanitized.
    #[must_use]
    pub fn with_exact_texts(mut self, has_exact_texts: bool) -> Self {
        self.has_exact_texts = has_exact_texts;
        self
    }

    /// Has the daemon log each change with this claim. A long text is cut, so that the call stays below 64 KiB; the
    /// daemon keeps less.
    #[must_use]
    pub fn with_claim(mut self, claim: Claim) -> Self {
        const MAX: usize = 1024;

        let cut = |text: Option<String>| text.map(|text| sanitize::shorten(&text, MAX).into_owned());
        self.claim = Some(Claim { user: cut(claim.user), command: cut(claim.command) });
        self
    }

    /// GetInfo of org.varlink.service.
    pub async fn info(&mut self) -> Result<ServiceInfo, CallError> {
        self.send(well_known::SERVICE, "GetInfo", Map::new(), CallKind::Single).await?;
        self.receive_in_time().await
    }

    /// GetStats.
    pub async fn stats(&mut self) -> Result<Stats, CallError> {
        Ok(self.call::<StatsReply>("GetStats", Map::new()).await?.stats)
    }

    /// WatchStats, with a reply after each `interval`.
    pub async fn watch_stats(mut self, interval: Duration) -> Result<StatsStream, CallError> {
        let milliseconds = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        self.send(INTERFACE, "WatchStats", parameter("intervalMs", milliseconds), CallKind::More).await?;
        self.limit += interval;
        Ok(StatsStream(self))
    }

    /// GetWorkers.
    pub async fn workers(&mut self) -> Result<WorkersReply, CallError> {
        self.call("GetWorkers", Map::new()).await
    }

    /// SetWorkers; `None` means as configured.
    pub async fn set_workers(&mut self, count: Option<u64>) -> Result<SetWorkersReply, CallError> {
        self.change("SetWorkers", parameter("count", count)).await
    }

    /// GetConfig.
    pub async fn config(&mut self) -> Result<ConfigReply, CallError> {
        self.call("GetConfig", Map::new()).await
    }

    /// Reload.
    pub async fn reload(&mut self, dry_run: bool) -> Result<ReloadReply, CallError> {
        let parameters = parameter("dryRun", dry_run);
        if dry_run { self.call("Reload", parameters).await } else { self.change("Reload", parameters).await }
    }

    /// SetLogLevel; `None` means as configured.
    pub async fn set_log_level(&mut self, level: Option<&str>) -> Result<SetLogLevelReply, CallError> {
        self.change("SetLogLevel", parameter("level", level)).await
    }

    /// Drain.
    pub async fn drain(&mut self) -> Result<DrainReply, CallError> {
        self.change("Drain", Map::new()).await
    }

    /// Resume.
    pub async fn resume(&mut self) -> Result<ResumeReply, CallError> {
        self.change("Resume", Map::new()).await
    }

    /// GetEvents.
    pub async fn events(&mut self) -> Result<EventsReply, CallError> {
        self.call("GetEvents", Map::new()).await
    }

    /// WatchEvents.
    pub async fn watch_events(mut self) -> Result<EventStream, CallError> {
        self.send(INTERFACE, "WatchEvents", Map::new(), CallKind::More).await?;
        Ok(EventStream { client: self, has_begun: false })
    }

    /// Calls a method that changes something.
    async fn change<R: DeserializeOwned>(
        &mut self,
        method: &str,
        parameters: Map<String, Value>,
    ) -> Result<R, CallError> {
        if let Some(Claim { user, command }) = self.claim.take() {
            // A daemon of an earlier version ignores a one-way call that it does not know.
            let claim = [("user".into(), user.into()), ("command".into(), command.into())];
            self.send(INTERFACE, "Identify", Map::from_iter(claim), CallKind::Oneway).await?;
        }
        self.call(method, parameters).await.map_err(|error| match error {
            CallError::TimedOut(limit) => CallError::ChangeTimedOut(limit),
            error => error,
        })
    }

    async fn call<R: DeserializeOwned>(
        &mut self,
        method: &str,
        parameters: Map<String, Value>,
    ) -> Result<R, CallError> {
        self.send(INTERFACE, method, parameters, CallKind::Single).await?;
        self.receive_in_time().await
    }

    async fn send(
        &mut self,
        interface: &str,
        method: &str,
        parameters: Map<String, Value>,
        kind: CallKind,
    ) -> Result<(), CallError> {
        let parameters = if parameters.is_empty() { Value::Null } else { parameters.into() };
        let call = Call::new(AnyCall { method: format!("{interface}.{method}"), parameters });
        let call = call.set_more(kind == CallKind::More).set_oneway(kind == CallKind::Oneway);
        let message = encode(&call).map_err(|error| transport_error(&error))?;
        let sent = timeout(self.limit, write(&self.stream, &message)).await;
        sent.map_err(|_| CallError::TimedOut(self.limit))?.map_err(|error| transport_error(&error))
    }

    async fn receive_in_time<R: DeserializeOwned>(&mut self) -> Result<R, CallError> {
        let limit = self.limit;
        timeout(limit, self.receive()).await.map_err(|_| CallError::TimedOut(limit))?
    }

    async fn receive<R: DeserializeOwned>(&mut self) -> Result<R, CallError> {
        let reply = self.replies.next::<Value>().await.map_err(|error| transport_error(&error))?;
        let mut reply = reply.ok_or(CallError::Closed)?;
        if !reply.is_object() {
            return Err(CallError::Protocol("it is not a Varlink reply".into()));
        }
        if reply.get("error").is_some() {
            sanitize::value(&mut reply);
            return Err(reported_error(&reply));
        }
        let mut parameters = reply["parameters"].take();
        if parameters.is_null() {
            return Err(CallError::Protocol("the reply is empty".into()));
        }
        if !self.has_exact_texts {
            sanitize::value(&mut parameters);
        }
        serde_json::from_value(parameters)
            .map_err(|error| CallError::Protocol(sanitize::escape(&error.to_string())))
    }
}

/// The number of replies that a call expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CallKind {
    Single,
    More,
    Oneway,
}

/// The replies to WatchStats.
#[derive(Debug)]
pub struct StatsStream(ControlClient);

impl StatsStream {
    /// Waits for the next reply.
    ///
    /// # Errors
    /// If the daemon rejects the call, closes the connection, or sends nothing for the interval and the limit.
    pub async fn next(&mut self) -> Result<Stats, CallError> {
        Ok(self.0.receive_in_time::<StatsReply>().await?.stats)
    }
}

/// The replies to WatchEvents.
#[derive(Debug)]
pub struct EventStream {
    client: ControlClient,
    /// Whether the first reply has come.
    has_begun: bool,
}

impl EventStream {
    /// Waits for the next reply, without a limit. The first reply comes at once, with the recent events.
    ///
    /// # Errors
    /// If the daemon rejects the call, closes the connection, or does not send the first reply in time.
    pub async fn next(&mut self) -> Result<WatchEventsReply, CallError> {
        if self.has_begun {
            return self.client.receive().await;
        }
        let first = self.client.receive_in_time().await?;
        self.has_begun = true;
        Ok(first)
    }
}

fn parameter(name: &str, value: impl Into<Value>) -> Map<String, Value> {
    Map::from_iter([(name.into(), value.into())])
}

/// Returns the error of a reply.
fn reported_error(reply: &Value) -> CallError {
    if let Ok(error) = ControlError::deserialize(reply) {
        return CallError::Refused(error);
    }
    CallError::Unknown(match varlink_service::Error::deserialize(reply) {
        Ok(varlink_service::Error::MethodNotFound { method }) => format!("no method {method}"),
        Ok(error) => error.to_string(),
        Err(_) => format!("error {}", reply["error"].as_str().unwrap_or_default()),
    })
}

fn transport_error(error: &io::Error) -> CallError {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => CallError::Closed,
        _ => CallError::Protocol(sanitize::escape(&error.to_string())),
    }
}
