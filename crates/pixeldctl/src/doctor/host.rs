use std::{ffi::OsString, fs, io, path::PathBuf, process::Stdio, time::Duration};

use pixeld_control::environment::PATH;
use tokio::{process::Command, time::timeout};

/// Why a fact is unavailable, in words for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unavailable(pub String);

/// Lets a check return the error of a fact that it borrows.
impl From<&Self> for Unavailable {
    fn from(unavailable: &Self) -> Self {
        unavailable.clone()
    }
}

/// A fact, or why it is unavailable.
pub type Probe<T> = Result<T, Unavailable>;

/// The host that is examined.
#[derive(Debug)]
pub struct Host {
    /// The folder with its files; `/` outside tests.
    pub root: PathBuf,
    /// The folders with its programs, as in `$PATH`.
    pub path: OsString,
    /// How long a program or a call may take.
    pub limit: Duration,
}

#[derive(Debug)]
pub struct Printed {
    /// The exit status, unless a signal ended it.
    pub exit: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Printed {
    pub fn succeeded(&self) -> bool {
        self.exit == Some(0)
    }

    /// Returns the error of a program that failed.
    pub fn failure(&self, program: &str) -> Unavailable {
        let said = self.stderr.lines().next().unwrap_or("no reason given");
        Unavailable(format!("{program} fails: {said}"))
    }
}

impl Host {
    /// This host, with the programs of `$PATH`.
    pub fn here(limit: Duration) -> Self {
        // ss, nginx and others are here, which is not in the PATH of every user.
        const SYSTEM: &str = "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin";

        let mut path = PATH.get().unwrap_or_else(|| SYSTEM.into());
        path.push(":");
        path.push(SYSTEM);
        Self { root: "/".into(), path, limit }
    }

    pub fn read(&self, path: &str) -> Probe<String> {
        let file = self.root.join(path.trim_start_matches('/'));
        fs::read_to_string(file).map_err(|error| Unavailable(format!("cannot read {path}: {error}")))
    }

    /// A file's size, if it exists and may be looked at.
    pub fn size(&self, path: &str) -> Option<u64> {
        let file = self.root.join(path.trim_start_matches('/'));
        Some(fs::metadata(file).ok()?.len())
    }

    /// Runs a program of the host's, in English and without a pager.
    pub async fn run(&self, program: &str, arguments: &[&str]) -> Probe<Printed> {
        let output = Command::new(program)
            .args(arguments)
            .env("PATH", &self.path)
            .envs([("LC_ALL", "C.UTF-8"), ("SYSTEMD_COLORS", "0"), ("SYSTEMD_PAGER", "cat")])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = timeout(self.limit, output).await.map_err(|_| {
            Unavailable(format!("{program} did not end within {}", humantime::format_duration(self.limit)))
        })?;
        let output = output.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Unavailable(format!("there is no {program} on this host")),
            _ => Unavailable(format!("cannot run {program}: {error}")),
        })?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Printed { exit: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) })
    }

    /// Returns what a program prints if it succeeds.
    pub async fn ask(&self, program: &str, arguments: &[&str]) -> Probe<String> {
        let printed = self.run(program, arguments).await?;
        if printed.succeeded() { Ok(printed.stdout) } else { Err(printed.failure(program)) }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt};

    use super::*;

    #[tokio::test]
    async fn programs_run_in_the_c_locale_or_give_a_reason() {
        let folder = tempfile::tempdir().unwrap();
        let tool = folder.path().join("tool");
        let script =
            "#!/bin/sh\n[ \"$1\" ] || exec /bin/sleep 60\necho \"$LC_ALL $1\"\necho no bus >&2; exit $2\n";
        fs::write(&tool, script).unwrap();
        fs::set_permissions(&tool, Permissions::from_mode(0o755)).unwrap();
        let root = folder.path().to_owned();
        let host = Host { path: root.clone().into(), root, limit: Duration::from_secs(10) };
        assert_eq!(host.ask("tool", &["x", "0"]).await.unwrap(), "C.UTF-8 x\n");
        assert_eq!(host.ask("tool", &["x", "1"]).await.unwrap_err().0, "tool fails: no bus");
        assert_eq!(host.ask("other", &[]).await.unwrap_err().0, "there is no other on this host");
        let hurried = Host { limit: Duration::from_millis(50), ..host };
        assert_eq!(hurried.ask("tool", &[]).await.unwrap_err().0, "tool did not end within 50ms");
    }
}
