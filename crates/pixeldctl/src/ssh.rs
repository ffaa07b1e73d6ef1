use std::{
    os::unix::net::UnixStream as StdUnixStream,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use pixeld_control::{CallError, environment::PIXELDCTL_SSH, sanitize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::UnixStream,
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    task::JoinHandle,
    time::timeout,
};

use super::error::CommandError;

/// A running ssh whose stdin and stdout are a stream. Killed when this value is dropped.
#[derive(Debug)]
pub struct SshProcess {
    child: Child,
    words: StderrText,
    preamble: Preamble,
}

impl SshProcess {
    /// Runs `command` on another host.
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

    /// Returns the output of ssh before the first reply.
    pub fn preamble(&self) -> String {
        self.preamble.text()
    }

    /// Returns the cause of its end.
    pub async fn explain(mut self) -> CommandError {
        /// ssh has closed its stdout, so it is about to end.
        const SOON: Duration = Duration::from_secs(5);

        let ended = timeout(SOON, self.child.wait()).await.ok().and_then(Result::ok);
        match ended.as_ref().and_then(ExitStatus::code) {
            // ssh succeeded: the daemon closed the connection.
            Some(0) if self.preamble.text().is_empty() => CallError::Closed.into(),
            code => {
                let message = self.preamble.text() + &self.words.all().await;
                CommandError::Remote { code, message }
            }
        }
    }

    /// Returns the cause of a missing reply: a host that rejects logins may print so and keep the connection open.
    pub fn explain_silence(self, error: CallError) -> CommandError {
        match self.preamble.text() {
            message if message.is_empty() => error.into(),
            message => CommandError::Remote { code: None, message },
        }
    }
}

/// The output before the first reply, which is a JSON object: a message of a host that rejects this user, or the
/// output of the shell's start-up files.
#[derive(Debug)]
struct Preamble(Arc<Mutex<Vec<u8>>>);

impl Preamble {
    /// Relays stdin and stdout until either side ends.
    fn relay(stdin: Option<ChildStdin>, stdout: Option<ChildStdout>, theirs: UnixStream) -> Self {
        const MOST: usize = 4 << 10;

        let heard = Arc::new(Mutex::new(Vec::new()));
        let kept = heard.clone();
        let (mut from_us, mut to_us) = theirs.into_split();
        tokio::spawn(async move {
            if let Some(mut stdin) = stdin {
                // An error means that ssh has ended. The drop of stdin closes the pipe.
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

/// Keeps the bytes before the first line that begins with `{`; returns whether that line is still to come.
fn keep_ahead(kept: &mut Vec<u8>, bytes: &[u8]) -> bool {
    for byte in bytes {
        if *byte == b'{' && kept.last().is_none_or(|last| *last == b'\n') {
            return false;
        }
        kept.push(*byte);
    }
    true
}

/// Returns text of another host, sanitized, with a newline at the end of each line.
fn words(heard: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(heard).replace("\r\n", "\n");
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    sanitize::lines(&text)
}

/// The stderr of a program: read at once, so that the program never blocks, and kept up to a limit.
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
                let space = MOST - kept.len();
                kept.extend_from_slice(&bytes[..length.min(space)]);
            }
        });
        Self { heard, listener }
    }

    /// Returns the text after the program has ended.
    async fn all(self) -> String {
        /// The text is in the pipe already; but a ControlMaster of ssh may hold the pipe open for much longer.
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
    fn preamble_ends_at_the_first_json_line() {
        let mut kept = Vec::new();
        assert!(keep_ahead(&mut kept, b"Welcome {you}\nto"));
        assert!(!keep_ahead(&mut kept, b" t2\n{\"parameters\":"));
        assert_eq!(words(&kept), "Welcome {you}\nto t2\n");
    }
}
