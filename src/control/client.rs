use std::{io, path::Path, time::Duration};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use tokio::{net::UnixStream, time::timeout};
use zlink::{Call, varlink_service};

use super::{
    INTERFACE,
    message::{AnyCall, Bounded, BoundedConnection},
    types::{ControlError, Reloaded, Stats, Workers, WorkersSet},
};

/// A connection to a running daemon.
#[derive(Debug)]
pub struct Client {
    connection: BoundedConnection,
    limit: Duration,
}

/// Why a call brought no reply.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody listens there.
    #[error("{0}")]
    Connect(io::Error),
    /// The daemon understood, and refused.
    #[error("{0}")]
    Refused(ControlError),
    /// The daemon does not know the method: another version, or another program.
    #[error("the daemon does not understand: {0}")]
    Unknown(String),
    /// The daemon went away, or sent something that is no Varlink.
    #[error("the answer cannot be understood: {0}")]
    Protocol(String),
    /// The daemon did not answer in time.
    #[error("no answer within {}", humantime::format_duration(*.0))]
    TimedOut(Duration),
}

impl Client {
    /// Connects to a control socket; each call may then take up to `limit`.
    ///
    /// # Errors
    /// When nobody listens there, or this user may not connect.
    pub async fn connect(path: &Path, limit: Duration) -> Result<Self, CallError> {
        let stream =
            timeout(limit, UnixStream::connect(path)).await.map_err(|_| CallError::TimedOut(limit))?;
        let stream = stream.map_err(CallError::Connect)?;
        let stream =
            stream.try_into().map_err(|error: zlink::Error| CallError::Protocol(error.to_string()))?;
        Ok(Self { connection: BoundedConnection::new(Bounded(stream)), limit })
    }

    /// GetStats.
    pub async fn stats(&mut self) -> Result<Stats, CallError> {
        self.call("GetStats", None).await
    }

    /// GetWorkers.
    pub async fn workers(&mut self) -> Result<Workers, CallError> {
        self.call("GetWorkers", None).await
    }

    /// SetWorkers; `None` means as configured.
    pub async fn set_workers(&mut self, count: Option<u64>) -> Result<WorkersSet, CallError> {
        self.call("SetWorkers", Some(Map::from_iter([("count".into(), count.into())]))).await
    }

    /// Reload.
    pub async fn reload(&mut self) -> Result<Reloaded, CallError> {
        self.call("Reload", None).await
    }

    async fn call<R: DeserializeOwned + std::fmt::Debug>(
        &mut self,
        method: &str,
        parameters: Option<Map<String, Value>>,
    ) -> Result<R, CallError> {
        let call = Call::new(AnyCall { method: format!("{INTERFACE}.{method}"), parameters });
        let limit = self.limit;
        let exchange = self.connection.call_method::<AnyCall, R, ReceivedError>(&call, vec![]);
        let reply = timeout(limit, exchange).await.map_err(|_| CallError::TimedOut(limit))?;
        match reply.map_err(transport)?.0 {
            Ok(reply) => {
                reply.into_parameters().ok_or_else(|| CallError::Protocol("the reply is empty".into()))
            }
            Err(ReceivedError(error)) => Err(CallError::Refused(error)),
        }
    }
}

/// zlink borrows from its buffer where it can; an error outlives it.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct ReceivedError(ControlError);

fn transport(error: zlink::Error) -> CallError {
    match error {
        zlink::Error::VarlinkService(error) => match error.inner() {
            varlink_service::Error::MethodNotFound { method } => {
                CallError::Unknown(format!("no method {method}"))
            }
            error => CallError::Unknown(error.to_string()),
        },
        zlink::Error::UnexpectedEof => CallError::Protocol("the connection was closed".into()),
        zlink::Error::UnknownErrorReply(name) => CallError::Unknown(format!("error {name}")),
        error => CallError::Protocol(error.to_string()),
    }
}
