//! The Python application that pixeld replaces, in a virtual environment that is made once and kept.

use std::{
    env,
    fs::{self, File, OpenOptions},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use nix::fcntl::{Flock, FlockArg};
use tempfile::TempDir;

use crate::support::{Client, eventually};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/reference");
const REQUIREMENTS: &str = include_str!("requirements.txt");

/// uvicorn with the application. It is killed and reaped when the test ends.
pub struct Application {
    process: Child,
    folder: TempDir,
}

impl Application {
    pub fn start() -> Self {
        let environment = environment();
        let folder = tempfile::tempdir().unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        // As the script that people start, for its depth of calls is part of the nesting that Python
        // allows; the path of the interpreter inside the script is that of an earlier folder.
        let mut uvicorn = Command::new(environment.join("bin/python"));
        uvicorn.arg(environment.join("bin/uvicorn")).args(["main:app", "--app-dir", FOLDER, "--uds"]);
        uvicorn.arg(folder.path().join("http.sock")).args(["--log-level", "critical"]);
        uvicorn.env("PYTHONDONTWRITEBYTECODE", "1").env_remove("PYTHONPATH");
        uvicorn.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let process = uvicorn.spawn().expect("uvicorn can be started");
        let mut application = Self { process, folder };
        eventually("uvicorn listens", || {
            if let Some(status) = application.process.try_wait().unwrap() {
                let log = fs::read_to_string(application.folder.path().join("log"));
                panic!("uvicorn ended with {status}; is {} whole? {log:?}", environment.display());
            }
            UnixStream::connect(application.socket()).ok()
        });
        application
    }

    pub fn client(&self) -> Client {
        Client::unix(&self.socket())
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("http.sock")
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        // It may have ended already, and a second panic would hide the first.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The virtual environment, made when it is not there. Whoever else wants to make it waits.
fn environment() -> PathBuf {
    let cache = env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()).map_or_else(
        || PathBuf::from(env::var_os("HOME").expect("HOME or XDG_CACHE_HOME is set")).join(".cache"),
        PathBuf::from,
    );
    let cache = cache.join("pixeld");
    fs::create_dir_all(&cache).unwrap();
    let lock = OpenOptions::new().create(true).append(true).open(cache.join("lock")).unwrap();
    let _lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, error)| error).unwrap();
    let python = python();
    let environment = cache.join(format!("reference-{:016x}", hash(&format!("{python}\n{REQUIREMENTS}"))));
    if !environment.exists() {
        let unfinished = cache.join("unfinished");
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).unwrap();
        }
        make(&python, &unfinished);
        fs::rename(unfinished, &environment).unwrap();
    }
    environment
}

/// The interpreter of the contract: others nest less or more deeply and word their errors differently.
fn python() -> String {
    const VERSION: &str = "import sys; assert sys.version_info[:2] == (3, 11)";
    let is_right = |python: &&str| {
        let check = Command::new(python).args(["-c", VERSION]).stderr(Stdio::null()).status();
        check.is_ok_and(|status| status.success())
    };
    let python = ["python3.11", "python3"].iter().find(|python| is_right(python));
    (*python.expect("Python 3.11 is missing (Debian 12: apt install python3 python3-venv)")).into()
}

fn make(python: &str, folder: &Path) {
    let venv = folder.to_str().unwrap();
    bounded(
        &[python, "-m", "venv", venv],
        "the module venv is missing or broken (Debian: apt install python3-venv)",
    );
    let pip = format!("{venv}/bin/python");
    let requirements = format!("{FOLDER}/requirements.txt");
    bounded(
        &[&pip, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", &requirements],
        "pip cannot install fastapi and uvicorn; the first run needs PyPI",
    );
}

fn bounded(command: &[&str], failure: &str) {
    let output = Command::new("timeout").arg("300").args(command).stdin(Stdio::null()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{failure}\n{command:?}: {}", String::from_utf8_lossy(&said));
}

/// FNV-1a, which is the same with every version of Rust.
fn hash(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}
