use std::{env, time::Duration};

use nix::unistd::{Uid, User};
use pixeld_control::{CallError, Claim, ControlClient, environment::SUDO_USER};

use super::{args::Purpose, error::CommandError, host_target::HostTarget, socket_path, ssh::SshProcess};

/// A connection to a daemon on this host or on another one: a client, or a stream of replies.
#[derive(Debug)]
pub struct ControlConnection<C = ControlClient> {
    /// `None` after an error.
    client: Option<C>,
    transport: Transport,
}

impl ControlConnection {
    /// Connects to the daemon at `target`. Each call may then take up to `limit`.
    pub async fn open(target: &HostTarget, purpose: Purpose, limit: Duration) -> Result<Self, CommandError> {
        let (client, ssh) = connect(target, purpose, limit).await?;
        let transport = Transport { ssh, target: target.clone(), purpose, limit };
        Ok(Self { client: Some(client), transport })
    }

    /// As [`ControlClient::with_exact_texts`].
    #[must_use]
    pub fn with_exact_texts(self, has_exact_texts: bool) -> Self {
        Self { client: self.client.map(|client| client.with_exact_texts(has_exact_texts)), ..self }
    }

    /// Begins a stream of replies; explains its error.
    pub async fn watch<S>(
        self,
        begin: impl AsyncFnOnce(ControlClient) -> Result<S, CallError>,
    ) -> Result<ControlConnection<S>, CommandError> {
        let Self { client, mut transport } = self;
        match begin(client.ok_or(CallError::Closed)?).await {
            Ok(stream) => Ok(ControlConnection { client: Some(stream), transport }),
            Err(error) => Err(transport.explain(error).await),
        }
    }
}

impl<C> ControlConnection<C> {
    /// Makes the calls of a query, or waits for the next reply of a stream; explains its error.
    pub async fn call<R>(
        &mut self,
        query: impl AsyncFnOnce(&mut C) -> Result<R, CallError>,
    ) -> Result<R, CommandError> {
        match query(self.client.as_mut().ok_or(CallError::Closed)?).await {
            Ok(reply) => Ok(reply),
            Err(error) => {
                // The explanation may need another connection, and a server may serve one client at a time.
                self.client = None;
                Err(self.transport.explain(error).await)
            }
        }
    }
}

async fn connect(
    target: &HostTarget,
    purpose: Purpose,
    limit: Duration,
) -> Result<(ControlClient, Option<SshProcess>), CommandError> {
    let (stream, ssh) = match target {
        HostTarget::Local { socket } => (socket_path::connect(socket.clone(), purpose, limit).await?, None),
        HostTarget::Ssh(host) => {
            let (ssh, stream) = SshProcess::start(host, bridge(purpose))?;
            (stream, Some(ssh))
        }
    };
    let client = ControlClient::over(stream, limit);
    Ok((if purpose == Purpose::Change { client.with_claim(claim()) } else { client }, ssh))
}

/// The path of a connection to its daemon.
#[derive(Debug)]
struct Transport {
    ssh: Option<SshProcess>,
    target: HostTarget,
    purpose: Purpose,
    limit: Duration,
}

impl Transport {
    /// Returns the cause of a failed call: the error of ssh if ssh has ended, the versions if one side did not understand
    /// the other.
    async fn explain(&mut self, error: CallError) -> CommandError {
        match (error, &mut self.ssh) {
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
                explain_incompatible(&self.target, self.purpose, self.limit, error).await
            }
            (error, _) => error.into(),
        }
    }
}

/// Adds the version of the daemon at `target` to the error of a call that one side did not understand. Uses a
/// connection of its own, because the other one may be in the middle of a stream.
pub async fn explain_incompatible(
    target: &HostTarget,
    purpose: Purpose,
    limit: Duration,
    error: CallError,
) -> CommandError {
    let info = async {
        let (mut client, _ssh) = connect(target, purpose, limit).await?;
        Ok::<_, CommandError>(client.info().await?)
    };
    match info.await {
        Ok(info) => CommandError::Incompatible(error, info),
        Err(_) => error.into(),
    }
}

/// The user and the command line of this pixeldctl: with -H, the daemon sees the user of ssh only.
fn claim() -> Claim {
    let name = |uid| User::from_uid(uid).ok().flatten().map(|user| user.name);
    let words: Vec<_> = env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    // Under sudo, the caller is more informative than root.
    let sudo_user = Uid::current().is_root().then(|| SUDO_USER.text()).flatten();
    Claim { user: sudo_user.or_else(|| name(Uid::current())), command: Some(words.join(" ")) }
}

fn bridge(purpose: Purpose) -> &'static [&'static str] {
    match purpose {
        Purpose::Read => &["pixeldctl", "bridge", "read"],
        Purpose::Change => &["pixeldctl", "bridge", "change"],
    }
}
