use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

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
    root: PathBuf,
    /// Folders with its programs.
    tools: Vec<PathBuf>,
    /// How long a program may run.
    limit: Duration,
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
}

impl Host {
    /// This host, with the programs of `$PATH`.
    pub fn here(limit: Duration) -> Self {
        let path = PATH.get().unwrap_or_default();
        // ss, nginx and others are here, which is not in the PATH of every user.
        let system = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
        Self::new("/", env::split_paths(&path).chain(system).collect(), limit)
    }

    /// A host with these files, by their paths without the first slash, and no programs.
    #[cfg(test)]
    pub fn with_files(files: &[(&str, &str)]) -> (tempfile::TempDir, Self) {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let host = Self::new(folder.path(), Vec::new(), Duration::from_secs(5));
        (folder, host)
    }

    /// A host with its files below `root`, and programs in `tools`.
    pub fn new(root: impl Into<PathBuf>, tools: Vec<PathBuf>, limit: Duration) -> Self {
        Self { root: root.into(), tools, limit }
    }

    /// How long a program or a call may take.
    pub fn limit(&self) -> Duration {
        self.limit
    }

    pub fn read(&self, path: &str) -> Probe<String> {
        let file = self.root.join(path.trim_start_matches('/'));
        fs::read_to_string(file).map_err(|error| Unavailable(format!("cannot read {path}: {error}")))
    }

    /// A file that holds one number.
    pub fn number(&self, path: &str) -> Probe<u64> {
        let text = self.read(path)?;
        text.trim().parse().map_err(|_| Unavailable(format!("{path} contains {:?}, no number", text.trim())))
    }

    /// A file's size, if it exists and may be looked at.
    pub fn size(&self, path: &str) -> Option<u64> {
        let file = self.root.join(path.trim_start_matches('/'));
        Some(fs::metadata(file).ok()?.len())
    }

    /// Runs a program of the host's, in English and without a pager.
    pub async fn run(&self, program: &str, arguments: &[&str]) -> Probe<Printed> {
        let path =
            self.find(program).ok_or_else(|| Unavailable(format!("there is no {program} on this host")))?;
        let output = Command::new(path)
            .args(arguments)
            .envs([("LC_ALL", "C.UTF-8"), ("SYSTEMD_COLORS", "0"), ("SYSTEMD_PAGER", "cat")])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = timeout(self.limit, output).await.map_err(|_| {
            Unavailable(format!("{program} did not end within {}", humantime::format_duration(self.limit)))
        })?;
        let output = output.map_err(|error| Unavailable(format!("cannot run {program}: {error}")))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Printed { exit: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) })
    }

    /// Returns what a program prints if it succeeds.
    pub async fn ask(&self, program: &str, arguments: &[&str]) -> Probe<String> {
        let printed = self.run(program, arguments).await?;
        if printed.succeeded() {
            return Ok(printed.stdout);
        }
        let said = printed.stderr.lines().next().unwrap_or("no reason given");
        Err(Unavailable(format!("{program} fails: {said}")))
    }

    fn find(&self, program: &str) -> Option<PathBuf> {
        let is_file = |path: &Path| path.metadata().is_ok_and(|metadata| metadata.is_file());
        self.tools.iter().map(|folder| folder.join(program)).find(|path| is_file(path))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt};

    use super::*;

    /// A host with this shell script as its only program, called `tool`.
    fn host_with(script: &str, limit: Duration) -> (tempfile::TempDir, Host) {
        let folder = tempfile::tempdir().unwrap();
        let tool = folder.path().join("tool");
        fs::write(&tool, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&tool, Permissions::from_mode(0o755)).unwrap();
        let host = Host::new(folder.path(), vec![folder.path().into()], limit);
        (folder, host)
    }

    fn asked(host: &Host, program: &str, arguments: &[&str]) -> Probe<String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(host.ask(program, arguments))
    }

    #[test]
    fn programs_run_in_the_c_locale() {
        let (_folder, host) = host_with("echo \"$LC_ALL $1\"", Duration::from_secs(10));
        assert_eq!(asked(&host, "tool", &["x"]).unwrap(), "C.UTF-8 x\n");
    }

    #[test]
    fn missing_or_hanging_program_is_an_error() {
        let (_folder, host) = host_with("echo no bus >&2; exit 1", Duration::from_secs(10));
        assert!(asked(&host, "other", &[]).unwrap_err().0.contains("no other on this host"));
        assert_eq!(asked(&host, "tool", &[]).unwrap_err().0, "tool fails: no bus");
        let (_folder, host) = host_with("exec sleep 60", Duration::from_millis(50));
        assert_eq!(asked(&host, "tool", &[]).unwrap_err().0, "tool did not end within 50ms");
    }

    #[test]
    fn unreadable_file_error_names_the_file() {
        let (_folder, host) = host_with("", Duration::from_secs(10));
        assert!(host.number("/proc/nothing").unwrap_err().0.contains("/proc/nothing"));
        assert!(host.number("/tool").unwrap_err().0.contains("no number"));
    }
}
