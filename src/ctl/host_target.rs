use std::{
    fmt,
    ops::{Deref, DerefMut},
    os::unix::net::UnixStream as StdUnixStream,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::UnixStream,
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    task::JoinHandle,
    time::timeout,
};

use super::{args::Purpose, error::CommandError, socket_path};
use crate::{
    control::{CallError, ControlClient},
    environment::PIXELDCTL_SSH,
    sanitize,
};

/// Where a daemon runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostTarget {
    /// On this host.
    Local {
        /// Its socket, if it was named.
        socket: Option<PathBuf>,
    },
    /// On another host, as ssh knows it.
    Ssh(String),
}

impl fmt::Display for HostTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local { .. } => THIS_HOST,
            // Whoever logs in there is the same daemon's visitor.
            Self::Ssh(host) => host.rsplit_once('@').map_or(host, |(_, host)| host),
        })
    }
}

/// What systemd's tools call it too.
const THIS_HOST: &str = ".host";

impl HostTarget {
    /// The places that the command line names, each once; without any, this host.
    pub fn all(hosts: &[String], socket: Option<PathBuf>) -> Vec<Self> {
        let target = |host: &String| match host.as_str() {
            THIS_HOST => Self::Local { socket: None },
            host => Self::Ssh(host.into()),
        };
        let mut targets = Vec::new();
        for target in hosts.iter().map(target) {
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
        if targets.is_empty() { vec![Self::Local { socket }] } else { targets }
    }

    /// Names the version of the daemon there in the error of a call that one side has not understood. It is
    /// asked over a connection of its own, because the other one may be in the middle of a stream.
    pub async fn explain_incompatible(
        &self,
        purpose: Purpose,
        limit: Duration,
        error: CallError,
    ) -> CommandError {
        let info = async { Ok::<_, CommandError>(self.connect(purpose, limit).await?.info().await?) };
        match info.await {
            Ok(info) => CommandError::Incompatible(error, info),
            Err(_) => error.into(),
        }
    }

    /// Connects to the daemon there. Each call may then take up to `limit`.
    ///
    /// # Errors
    /// When it is not there, cannot be reached, or this user may not connect.
    pub async fn connect(
        &self,
        purpose: Purpose,
        limit: Duration,
    ) -> Result<ControlConnection, CommandError> {
        let (stream, ssh) = match self {
            Self::Local { socket } => (socket_path::connect(socket.clone(), purpose, limit).await?, None),
            Self::Ssh(host) => {
                let (ssh, stream) = SshProcess::start(host, bridge(purpose))?;
                (stream, Some(ssh))
            }
        };
        let transport = Transport { ssh, target: self.clone(), purpose, limit };
        Ok(ControlConnection { client: ControlClient::over(stream, limit)?, transport })
    }
}

fn bridge(purpose: Purpose) -> &'static [&'static str] {
    match purpose {
        Purpose::Read => &["pixeldctl", "bridge", "read"],
        Purpose::Change => &["pixeldctl", "bridge", "change"],
    }
}

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
            (CallError::Protocol(reason), Some(ssh)) if !ssh.preamble.text().is_empty() => {
                let preamble = ssh.preamble.text();
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

/// A running ssh, whose stdin and stdout are a stream of ours. It ends with this value.
#[derive(Debug)]
pub struct SshProcess {
    child: Child,
    words: StderrText,
    preamble: Preamble,
}

impl SshProcess {
    /// Has `command` run on another host.
    ///
    /// # Errors
    /// When there is no ssh.
    pub fn start(host: &str, command: &[&str]) -> Result<(Self, UnixStream), CommandError> {
        let (ours, theirs) = StdUnixStream::pair().map_err(CommandError::Os)?;
        ours.set_nonblocking(true).map_err(CommandError::Os)?;
        theirs.set_nonblocking(true).map_err(CommandError::Os)?;
        let program = PIXELDCTL_SSH.get().unwrap_or_else(|| "ssh".into());
        let mut child = Command::new(&program)
            .args(["-xT", "--", host])
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| CommandError::NoSsh(program, error))?;
        let words = StderrText::listen(child.stderr.take());
        let theirs = UnixStream::from_std(theirs).map_err(CommandError::Os)?;
        let preamble = Preamble::relay(child.stdin.take(), child.stdout.take(), theirs);
        let stream = UnixStream::from_std(ours).map_err(CommandError::Os)?;
        Ok((Self { child, words, preamble }, stream))
    }

    /// Why it ended.
    pub async fn explain(mut self) -> CommandError {
        /// It has closed its stdout, so it is about to end.
        const SOON: Duration = Duration::from_secs(5);

        let ended = timeout(SOON, self.child.wait()).await.ok().and_then(Result::ok);
        match ended.as_ref().and_then(ExitStatus::code) {
            // Nothing went wrong there: it was the daemon who hung up.
            Some(0) if self.preamble.text().is_empty() => CallError::Closed.into(),
            code => {
                let message = self.preamble.text() + &self.words.all().await;
                CommandError::Remote { code, message }
            }
        }
    }

    /// Why no reply came in time: a host that lets nobody in may say so, and keep the connection for a
    /// while.
    pub fn explain_silence(self, error: CallError) -> CommandError {
        match self.preamble.text() {
            message if message.is_empty() => error.into(),
            message => CommandError::Remote { code: None, message },
        }
    }
}

/// What comes on stdout ahead of the first reply, which is a JSON object: words of a host that does not let
/// this user in, or of the shell's start-up files.
#[derive(Debug)]
struct Preamble(Arc<Mutex<Vec<u8>>>);

impl Preamble {
    /// Passes on what the program reads and writes, and ends with either side.
    fn relay(stdin: Option<ChildStdin>, stdout: Option<ChildStdout>, theirs: UnixStream) -> Self {
        const MOST: usize = 4 << 10;

        let heard = Arc::new(Mutex::new(Vec::new()));
        let kept = heard.clone();
        let (mut from_us, mut to_us) = theirs.into_split();
        tokio::spawn(async move {
            if let Some(mut stdin) = stdin {
                // What nobody reads any more is not needed. Dropped at the end, it closes the pipe.
                let _ = copy(&mut from_us, &mut stdin).await;
            }
        });
        tokio::spawn(async move {
            let Some(mut stdout) = stdout else { return };
            let (mut bytes, mut is_ahead) = ([0; 4096], true);
            while let Ok(length @ 1..) = stdout.read(&mut bytes).await {
                let bytes = &bytes[..length];
                if is_ahead {
                    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                    is_ahead = keep_ahead(&mut kept, bytes) && kept.len() < MOST;
                }
                if to_us.write_all(bytes).await.is_err() {
                    break;
                }
            }
        });
        Self(heard)
    }

    fn text(&self) -> String {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        words(&heard)
    }
}

/// Keeps what comes ahead of a line that begins as an object does; says whether that is still to come.
fn keep_ahead(kept: &mut Vec<u8>, bytes: &[u8]) -> bool {
    for byte in bytes {
        if *byte == b'{' && kept.last().is_none_or(|last| *last == b'\n') {
            return false;
        }
        kept.push(*byte);
    }
    true
}

/// Words of another host, as they may be shown, with a newline behind each line.
fn words(heard: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(heard).replace("\r\n", "\n");
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    sanitize::lines(&text)
}

/// What a program says on stderr. It is taken all the time, so that the program never waits for that,
/// and kept as far as anybody would read it.
#[derive(Debug)]
struct StderrText {
    heard: Arc<Mutex<Vec<u8>>>,
    listener: JoinHandle<()>,
}

impl StderrText {
    fn listen(stderr: Option<ChildStderr>) -> Self {
        const MOST: usize = 16 << 10;

        let heard = Arc::new(Mutex::new(Vec::new()));
        let kept = heard.clone();
        let listener = tokio::spawn(async move {
            let Some(mut stderr) = stderr else { return };
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = stderr.read(&mut bytes).await {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                let room = MOST - kept.len();
                kept.extend_from_slice(&bytes[..length.min(room)]);
            }
        });
        Self { heard, listener }
    }

    /// All of them, once the program has ended.
    async fn all(self) -> String {
        /// They are in the pipe already; but somebody else may hold it open for much longer, such as
        /// a connection that ssh keeps for later.
        const SOON: Duration = Duration::from_millis(500);

        let _ = timeout(SOON, self.listener).await;
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        words(&heard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_have_host_names() {
        let names = |hosts: &[&str]| -> Vec<_> {
            let hosts: Vec<_> = hosts.iter().map(ToString::to_string).collect();
            HostTarget::all(&hosts, None).iter().map(ToString::to_string).collect()
        };
        assert_eq!(names(&["c5", "admin@t2", ".host"]), ["c5", "t2", ".host"]);
        assert_eq!(names(&[]), [".host"]);
    }

    #[test]
    fn preamble_ends_at_the_first_json_line() {
        let mut kept = Vec::new();
        assert!(keep_ahead(&mut kept, b"Welcome {you}\nto"));
        assert!(!keep_ahead(&mut kept, b" t2\n{\"parameters\":"));
        assert_eq!(words(&kept), "Welcome {you}\nto t2\n");
    }

    #[test]
    fn host_named_twice_is_asked_once() {
        let hosts: Vec<_> = ["t2", ".host", "t2", "root@t2", ".host"].map(String::from).into();
        assert_eq!(HostTarget::all(&hosts, None).len(), 3);
    }
}
