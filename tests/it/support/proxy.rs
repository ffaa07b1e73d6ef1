//! Proxies that people put in front of pixeld.

use std::{
    fs::{self, File},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use super::{Client, eventually};

/// A proxy in front of daemons. It is killed and reaped when the test ends.
pub struct Proxy {
    process: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Proxy {
    /// Starts a program; the path of its configuration is its last argument. The closure gets the address to listen on
    /// and a folder for its files.
    pub fn start(
        program: &str,
        arguments: &[&str],
        configuration: impl FnOnce(SocketAddr, &Path) -> String,
    ) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("configuration");
        fs::write(&file, configuration(address, folder.path())).unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let process = Command::new(program)
            .args(arguments)
            .arg(&file)
            .env("HOME", folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        let mut proxy = Self { process, address, folder };
        eventually(program, || {
            if let Some(status) = proxy.process.try_wait().unwrap() {
                let log = fs::read_to_string(proxy.folder.path().join("log")).unwrap();
                panic!("{program} ended with {status}: {log}");
            }
            TcpStream::connect(address).ok()
        });
        proxy
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn client(&self) -> Client {
        Client::tcp(self.address)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
