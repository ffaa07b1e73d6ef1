use std::{
    env,
    ops::{Deref, DerefMut},
    time::Duration,
};

use nix::unistd::{Uid, User};
use pixeld_control::{CallError, Claim, ControlClient, environment::SUDO_USER};

use super::{args::Purpose, error::CommandError, host_target::HostTarget, socket_path, ssh::SshProcess};

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
    /// Connects to the daemon at `target`. Each call may then take up to `limit`.
    ///
    /// # Errors
    /// When it is not there, cannot be reached, or this user may not connect.
    pub async fn open(target: &HostTarget, purpose: Purpose, limit: Duration) -> Result<Self, CommandError> {
        let (stream, ssh) = match target {
            HostTarget::Local { socket } => {
                (socket_path::connect(socket.clone(), purpose, limit).await?, None)
            }
            HostTarget::Ssh(host) => {
                let (ssh, stream) = SshProcess::start(host, bridge(purpose))?;
                (stream, Some(ssh))
            }
        };
        let mut client = ControlClient::over(stream, limit)?;
        if purpose == Purpose::Change {
            client = client.with_claim(claim());
        }
        Ok(Self { client, transport: Transport { ssh, target: target.clone(), purpose, limit } })
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
                explain_incompatible(&self.target, self.purpose, self.limit, error).await
            }
            (error, _) => error.into(),
        }
    }
}

/// Names the version of the daemon at `target` in the error of a call that one side has not understood. It is
/// asked over a connection of its own, because the other one may be in the middle of a stream.
pub async fn explain_incompatible(
    target: &HostTarget,
    purpose: Purpose,
    limit: Duration,
    error: CallError,
) -> CommandError {
    let info =
        async { Ok::<_, CommandError>(ControlConnection::open(target, purpose, limit).await?.info().await?) };
    match info.await {
        Ok(info) => CommandError::Incompatible(error, info),
        Err(_) => error.into(),
    }
}

/// Who runs this pixeldctl, and how: with -H, the daemon sees the user who has logged in there.
fn claim() -> Claim {
    let name = |uid| User::from_uid(uid).ok().flatten().map(|user| user.name);
    let words: Vec<_> = env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    // Of root, the name is known; of interest is who became root.
    let sudo_user = Uid::current().is_root().then(|| SUDO_USER.text()).flatten();
    Claim { user: sudo_user.or_else(|| name(Uid::current())), command: Some(words.join(" ")) }
}

fn bridge(purpose: Purpose) -> &'static [&'static str] {
    match purpose {
        Purpose::Read => &["pixeldctl", "bridge", "read"],
        Purpose::Change => &["pixeldctl", "bridge", "change"],
    }
}
