use std::{
    ops::{Deref, DerefMut},
    time::Duration,
};

use pixeld_control::{CallError, Claim, ControlClient};
use tokio::net::UnixStream;

use super::{args::Purpose, error::CommandError, host_target::HostTarget, ssh::SshProcess};

/// A connection to a daemon, here or there.
#[derive(Debug)]
pub struct ControlConnection {
    client: ControlClient,
    transport: Transport,
}

impl Deref for ControlConnection {
    type Target = ControlClient;

    fn deref(&self) -> &ControlClient {
        &self.client
    }
}

impl DerefMut for ControlConnection {
    fn deref_mut(&mut self) -> &mut ControlClient {
        &mut self.client
    }
}

impl ControlConnection {
    /// Speaks to the daemon at `target` over a stream, which ends with `ssh` if there is one. Each call may
    /// take up to `limit`.
    ///
    /// # Errors
    /// As [`ControlClient::over`].
    pub fn new(
        stream: UnixStream,
        ssh: Option<SshProcess>,
        target: HostTarget,
        purpose: Purpose,
        limit: Duration,
    ) -> Result<Self, CallError> {
        let client = ControlClient::over(stream, limit)?;
        Ok(Self { client, transport: Transport { ssh, target, purpose, limit } })
    }

    /// As [`ControlClient::with_claim`].
    #[must_use]
    pub fn with_claim(self, claim: Claim) -> Self {
        Self { client: self.client.with_claim(claim), transport: self.transport }
    }

    /// As [`ControlClient::with_exact_texts`].
    #[must_use]
    pub fn with_exact_texts(self, has_exact_texts: bool) -> Self {
        Self { client: self.client.with_exact_texts(has_exact_texts), transport: self.transport }
    }

    /// Parts with the way there, which has to be kept while the client is used.
    pub fn into_parts(self) -> (ControlClient, Transport) {
        (self.client, self.transport)
    }

    /// Why a call really failed: if the way there has broken, ssh knows better, and if one side has not
    /// understood the other, the versions of both are the likely reason.
    pub async fn explain(self, error: CallError) -> CommandError {
        let Self { client, transport } = self;
        drop(client);
        transport.explain(error).await
    }
}

/// What a connection goes by.
#[derive(Debug)]
pub struct Transport {
    ssh: Option<SshProcess>,
    target: HostTarget,
    purpose: Purpose,
    limit: Duration,
}

impl Transport {
    /// As [`ControlConnection::explain`].
    pub async fn explain(self, error: CallError) -> CommandError {
        match (error, self.ssh) {
            (CallError::Closed, Some(ssh)) => ssh.explain().await,
            (error @ (CallError::TimedOut(_) | CallError::ChangeTimedOut(_)), Some(ssh)) => {
                ssh.explain_silence(error)
            }
            (CallError::Protocol(reason), Some(ssh)) if !ssh.preamble().is_empty() => {
                let preamble = ssh.preamble();
                let begin: String = preamble.lines().next().unwrap_or_default().chars().take(80).collect();
                let begin = if begin.is_empty() { begin } else { format!("; it begins with \"{begin}\"") };
                CallError::Protocol(reason + &begin).into()
            }
            (error @ (CallError::Protocol(_) | CallError::Unknown(_)), _) => {
                self.target.explain_incompatible(self.purpose, self.limit, error).await
            }
            (error, _) => error.into(),
        }
    }
}
