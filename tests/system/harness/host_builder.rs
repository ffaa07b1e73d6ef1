//! Configures a host and boots it.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use super::container::{Container, Folder};
use super::host::Host;
use super::network::{Namespace, Network};
use super::root::Release;

/// How long a boot may take.
pub const BOOT: Duration = Duration::from_secs(60);

type RootChange = Box<dyn FnOnce(&Path) + Send>;

/// A host that is to be booted.
pub struct HostBuilder {
    name: String,
    release: Release,
    namespace: Arc<Namespace>,
    known_hosts: String,
    pixeld: bool,
    files: Vec<(String, String)>,
    folders: Vec<Folder>,
    before_boot: Option<RootChange>,
    bound: Duration,
    bpf: bool,
}

impl HostBuilder {
    /// A host with this name, Debian 13, and no network yet.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            release: Release::Trixie,
            namespace: Arc::new(Namespace::new()),
            known_hosts: String::new(),
            pixeld: false,
            files: Vec::new(),
            folders: Vec::new(),
            before_boot: None,
            bound: BOOT,
            bpf: true,
        }
    }

    /// Runs another release than Debian 13.
    #[must_use]
    pub fn release(mut self, release: Release) -> Self {
        self.release = release;
        self
    }

    /// Adds an interface with an address (`A.B.C.D/N`) in a network.
    #[must_use]
    pub fn attach(self, network: &Network, interface: &str, address: &str) -> Self {
        network.attach(&self.namespace, interface, address);
        self
    }

    /// Adds a line to `/etc/hosts`.
    #[must_use]
    pub fn hosts_entry(mut self, name: &str, address: SocketAddr) -> Self {
        self.known_hosts.extend([&address.ip().to_string(), " ", name, "\n"]);
        self
    }

    /// Has pixeld installed by `make install`, as a package would.
    #[must_use]
    pub fn with_pixeld(mut self) -> Self {
        self.pixeld = true;
        self
    }

    /// Has a file there before the host boots.
    #[must_use]
    pub fn with_file(mut self, path: &str, content: impl Into<String>) -> Self {
        self.files.push((path.trim_start_matches('/').into(), content.into()));
        self
    }

    /// Has a folder of this machine there, which the host can read and not change.
    #[must_use]
    pub fn with_folder(mut self, local: impl Into<PathBuf>, remote: &str) -> Self {
        self.folders.push(Folder { local: local.into(), remote: remote.into() });
        self
    }

    /// Changes the host's root folder before it boots, on a thread that alone has it mounted.
    #[must_use]
    pub fn before_boot(mut self, change: impl FnOnce(&Path) + Send + 'static) -> Self {
        self.before_boot = Some(Box::new(change));
        self
    }

    /// Lets the host load no BPF programs, as plain containers do.
    #[must_use]
    pub fn without_bpf(mut self) -> Self {
        self.bpf = false;
        self
    }

    /// Bounds the boot by another time, for hosts that do much meanwhile.
    #[must_use]
    pub fn within(mut self, bound: Duration) -> Self {
        self.bound = bound;
        self
    }

    /// Boots the host, and returns when its systemd says that everything runs.
    pub fn boot(self) -> Host {
        let Self { name, release, namespace, known_hosts, pixeld, files, folders, before_boot, bound, bpf } =
            self;
        let hostname = format!("{name}\n");
        let prepare = move |root: &Path| {
            let hosts = format!("127.0.0.1 localhost\n{known_hosts}");
            fs::write(root.join("etc/hosts"), hosts).expect("write /etc/hosts");
            fs::write(root.join("etc/hostname"), hostname).expect("write /etc/hostname");
            for (path, content) in files {
                let path = root.join(path);
                fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("create a folder");
                fs::write(&path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            }
            if pixeld {
                install_pixeld(root);
            }
            if let Some(change) = before_boot {
                change(root);
            }
        };
        let container =
            Container::start(&name, release.root(), folders, Arc::clone(&namespace), bpf, prepare);
        let host = Host::await_first_boot(name, container, namespace, bound);
        if pixeld {
            // A Debian package does this after unpacking.
            host.run("systemd-sysusers && systemd-tmpfiles --create && systemctl daemon-reload");
        }
        host
    }
}

/// A program that `make build` has built.
pub fn program(name: &str) -> PathBuf {
    // Where make looks, too.
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(target).join("release").join(name);
    assert!(program.exists(), "{} is missing: run `make build` first", program.display());
    program
}

/// Copies what `make build` built into a root folder.
fn install_pixeld(root: &Path) {
    program("pixeld");
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new("make")
        .args(["--silent", "-C"])
        .arg(repository)
        .args(["install", "PREFIX=/usr"])
        .arg(format!("DESTDIR={}", root.display()))
        // This may itself run below make, whose job server is not for others.
        .env_remove("MAKEFLAGS")
        .env_remove("MAKELEVEL")
        .output()
        .expect("start make");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "make install: {}\n{stderr}", output.status);
    // Enabled as the packages have it, but only as far as the service starts it.
    let wants = root.join("etc/systemd/system/pixeld.service.wants");
    fs::create_dir_all(&wants).unwrap();
    let admin = "pixeld-admin.socket";
    symlink(Path::new("/usr/lib/systemd/system").join(admin), wants.join(admin)).unwrap();
}
