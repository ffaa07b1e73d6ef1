use std::{
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use pixeld_control::{CallError, environment::PIXELDCTL_SSH, sanitize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{UnixStream, unix::OwnedWriteHalf},
    process::{Child, ChildStderr, ChildStdout, Command},
    task::JoinHandle,
    time::timeout,
};

use super::error::CommandError;

/// A running ssh whose stdin and stdout are a stream. Killed when this value is dropped.
#[derive(Debug)]
pub struct SshProcess {
    child: Child,
    /// The output before the first reply, which is a JSON object: a message of a host that rejects this user, or the
    /// output of the shell's start-up files.
    preamble: KeptOutput,
    stderr: KeptOutput,
    stderr_reader: JoinHandle<()>,
}

impl SshProcess {
    /// Runs `command` on another host.
    pub fn start(host: &str, command: &[&str]) -> Result<(Self, UnixStream), CommandError> {
        let (ours, theirs) = UnixStream::pair().map_err(CommandError::Os)?;
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
        let (mut from_us, to_us) = theirs.into_split();
        if let Some(mut stdin) = child.stdin.take() {
            // An error means that ssh has ended. The drop of stdin closes the pipe.
            tokio::spawn(async move { drop(copy(&mut from_us, &mut stdin).await) });
        }
        let (preamble, stderr) = (KeptOutput::default(), KeptOutput::default());
        tokio::spawn(relay_stdout(child.stdout.take(), to_us, preamble.clone()));
        let stderr_reader = tokio::spawn(keep_stderr(child.stderr.take(), stderr.clone()));
        Ok((Self { child, preamble, stderr, stderr_reader }, ours))
    }

    /// Returns the output of ssh before the first reply.
    pub fn preamble(&self) -> String {
        self.preamble.text()
    }

    /// Returns the cause of its end.
    pub async fn explain(&mut self) -> CommandError {
        /// ssh has closed its stdout, so it is about to end.
        const SOON: Duration = Duration::from_secs(5);
        /// Its stderr is in the pipe already; but a ControlMaster of ssh may hold the pipe open for much longer.
        const VERY_SOON: Duration = Duration::from_millis(500);

        let ended = timeout(SOON, self.child.wait()).await.ok().and_then(Result::ok);
        match ended.as_ref().and_then(ExitStatus::code) {
            // ssh succeeded: the daemon closed the connection.
            Some(0) if self.preamble().is_empty() => CallError::Closed.into(),
            code => {
                let _ = timeout(VERY_SOON, &mut self.stderr_reader).await;
                CommandError::Remote { code, message: self.preamble() + &self.stderr.text() }
            }
        }
    }

    /// Returns the cause of a missing reply: a host that rejects logins may print so and keep the connection open.
    pub fn explain_silence(&self, error: CallError) -> CommandError {
        match self.preamble() {
            message if message.is_empty() => error.into(),
            message => CommandError::Remote { code: None, message },
        }
    }
}

/// Output of ssh, up to a limit.
#[derive(Debug, Clone, Default)]
struct KeptOutput(Arc<Mutex<Vec<u8>>>);

impl KeptOutput {
    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the text, sanitized, with a newline at the end of each line.
    fn text(&self) -> String {
        let mut text = String::from_utf8_lossy(&self.lock()).replace("\r\n", "\n");
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        sanitize::lines(&text)
    }
}

async fn relay_stdout(stdout: Option<ChildStdout>, mut to_us: OwnedWriteHalf, preamble: KeptOutput) {
    const MOST: usize = 4 << 10;

    let Some(mut stdout) = stdout else { return };
    let (mut bytes, mut is_ahead) = ([0; 4096], true);
    while let Ok(length @ 1..) = stdout.read(&mut bytes).await {
        let bytes = &bytes[..length];
        if is_ahead {
            let mut kept = preamble.lock();
            is_ahead = keep_ahead(&mut kept, bytes) && kept.len() < MOST;
        }
        if to_us.write_all(bytes).await.is_err() {
            break;
        }
    }
}

/// Reads stderr at once, so that ssh never blocks.
async fn keep_stderr(stderr: Option<ChildStderr>, output: KeptOutput) {
    const MOST: usize = 16 << 10;

    let Some(mut stderr) = stderr else { return };
    let mut bytes = [0; 4096];
    while let Ok(length @ 1..) = stderr.read(&mut bytes).await {
        let mut kept = output.lock();
        let space = MOST - kept.len();
        kept.extend_from_slice(&bytes[..length.min(space)]);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preamble_ends_at_the_first_json_line() {
        let preamble = KeptOutput::default();
        assert!(keep_ahead(&mut preamble.lock(), b"Welcome {you}\nto"));
        assert!(!keep_ahead(&mut preamble.lock(), b" t2\n{\"parameters\":"));
        assert_eq!(preamble.text(), "Welcome {you}\nto t2\n");
    }
}
