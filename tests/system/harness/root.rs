//! Debian root folders, built once with mmdebstrap and kept in the user's cache.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::fcntl::{Flock, FlockArg};

/// Packages of every host, besides Debian's of priority `important`.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,nginx-light,iproute2,curl,procps,util-linux,\
                        socat,jq,strace,openssh-server,openssh-client";

/// A hook that keeps servers from starting at boot.
const QUIET: &str = "systemctl --root=\"$1\" disable nginx.service ssh.service";

/// Packages of an emulated host, besides Debian's essential ones. Few, because each takes seconds there.
const EMULATED_PACKAGES: &str = "systemd,systemd-sysv,dbus,procps,util-linux";

/// A hook that lets systemd start its own services under qemu, where it cannot mount credentials.
const WITHOUT_CREDENTIALS: &str = "for unit in sysctl sysusers tmpfiles-setup tmpfiles-setup-dev; do \
                                   folder=\"$1/etc/systemd/system/systemd-$unit.service.d\"; mkdir \"$folder\"; \
                                   printf '[Service]\\nLoadCredential=\\nSetCredential=\\n' > \"$folder/qemu.conf\"; \
                                   done";

/// Packages of Debian's cloud image, besides those. A host needs more.
const IMAGE_PACKAGES: &str = "systemd,systemd-sysv,dbus,cloud-init,iproute2,procps,util-linux";

/// Packages in the apt cache of a bare host, because no test network reaches a mirror.
const INSTALLABLE: &str = "nginx-light nginx ca-certificates curl openssl";

/// Packages that a user needs to clone the repository, besides Debian's of priority `important`.
const FRESH_PACKAGES: &str = "systemd,systemd-sysv,dbus,git,curl,sudo,ca-certificates";

/// Packages that the quick start of the README installs, and those that `make install-nginx` needs.
const FRESH_INSTALLABLE: &str = "--no-install-recommends make cargo-web nginx-light logrotate";

/// Units that only cost time in a test, or that look for hardware a container lacks.
const MASKED: &[&str] = &[
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "console-getty.service",
    "cron.service",
    "dev-hugepages.mount",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty.target",
    "ifupdown-pre.service",
    "ldconfig.service",
    "logrotate.timer",
    "networking.service",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-journal-catalog-update.service",
    "systemd-modules-load.service",
    "systemd-pstore.service",
];

/// A Debian release that hosts can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// Debian 12, systemd 252: the oldest that is supported.
    Bookworm,
    /// Debian 12 for arm64, which qemu emulates.
    BookwormArm64,
    /// Debian 13, systemd 257.
    Trixie,
    /// Debian 13 as a cloud's image has it: with cloud-init, and with nothing that pixeld needs. apt
    /// finds nginx and what it needs in its cache.
    TrixieImage,
    /// Debian 13 with dnf, for the packages of Amazon Linux.
    TrixieDnf,
    /// Debian 13 with git, curl and sudo. apt finds make and Rust in its cache.
    TrixieFresh,
}

impl Release {
    const fn suite(self) -> &'static str {
        match self {
            Self::Bookworm | Self::BookwormArm64 => "bookworm",
            Self::Trixie | Self::TrixieImage | Self::TrixieDnf | Self::TrixieFresh => "trixie",
        }
    }

    /// The release's root folder, never to be written to. Builds it (about 20 s) unless the cache
    /// has one of the same recipe.
    pub fn root(self) -> PathBuf {
        let recipe = self.recipe();
        let mut hasher = DefaultHasher::new();
        recipe.hash(&mut hasher);
        let name = format!("{}-{:016x}", self.suite(), hasher.finish());
        let roots = cache().join("roots");
        fs::create_dir_all(&roots).expect("create the folder for roots");
        let root = roots.join(&name);
        if root.exists() {
            return root;
        }

        let _lock = lock(&roots.join(format!("{name}.lock")));
        if !root.exists() {
            let unfinished = roots.join(format!("{name}.unfinished"));
            remove(&unfinished);
            self.build(&recipe, &unfinished);
            fs::rename(&unfinished, &root).expect("put the finished root in its place");
        }
        root
    }

    /// Options of mmdebstrap. A root is used again for as long as these stay the same.
    fn recipe(self) -> Vec<String> {
        let (packages, hook): (String, String) = match self {
            Self::Bookworm | Self::Trixie => (PACKAGES.into(), QUIET.into()),
            Self::BookwormArm64 => (EMULATED_PACKAGES.into(), WITHOUT_CREDENTIALS.into()),
            Self::TrixieDnf => (format!("{PACKAGES},dnf,rpm"), QUIET.into()),
            Self::TrixieImage => (IMAGE_PACKAGES.into(), download(INSTALLABLE)),
            Self::TrixieFresh => (FRESH_PACKAGES.into(), download(FRESH_INSTALLABLE)),
        };
        let variant = if self == Self::BookwormArm64 { "minbase" } else { "important" };
        let mut recipe = vec![
            format!("--variant={variant}"),
            format!("--include={packages}"),
            // An empty id, unlike "uninitialized", is no first boot: presets stay as they are.
            "--customize-hook=: > \"$1/etc/machine-id\"".into(),
            format!("--customize-hook={hook}"),
            format!("--customize-hook=systemctl --root=\"$1\" mask {}", MASKED.join(" ")),
        ];
        if self == Self::BookwormArm64 {
            // A program under qemu unpacks slowly, and waits for the disk after each file.
            recipe.extend(["--architectures=arm64".into(), "--dpkgopt=force-unsafe-io".into()]);
        }
        if matches!(self, Self::TrixieImage | Self::TrixieFresh) {
            recipe.push("--skip=cleanup/apt".into());
        }
        recipe.push(self.suite().into());
        recipe
    }

    fn build(self, recipe: &[String], target: &Path) {
        eprintln!("building a root for {}, once …", self.suite());
        // In a process namespace of its own: when this process is killed, no builder is left.
        let output = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .args(["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
            .args(["mmdebstrap", "--quiet"])
            .args(recipe)
            .arg(target)
            .arg(mirror())
            .output()
            .expect("start mmdebstrap");
        assert!(
            output.status.success(),
            "mmdebstrap: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// A hook that leaves packages in apt's cache.
fn download(packages: &str) -> String {
    format!("chroot \"$1\" apt-get install --download-only --yes {packages}")
}

/// The folder for everything that outlives a test or does not fit into memory.
pub fn cache() -> PathBuf {
    std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
        .expect("XDG_CACHE_HOME or HOME must be set")
        .join("pixeld")
}

/// Waits until no other process holds the lock; the lock ends with the returned value.
pub fn lock(path: &Path) -> Flock<File> {
    let file = File::create(path).expect("create a lock file");
    Flock::lock(file, FlockArg::LockExclusive).expect("take a lock")
}

/// Removes a folder that may not be there.
pub fn remove(folder: &Path) {
    if let Err(error) = fs::remove_dir_all(folder) {
        assert!(error.kind() == std::io::ErrorKind::NotFound, "remove {}: {error}", folder.display());
    }
}

/// The Debian mirror that this machine's apt uses, or Debian's default one.
fn mirror() -> String {
    let mut lists = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(folder) = fs::read_dir("/etc/apt/sources.list.d") {
        lists.extend(folder.flatten().map(|entry| entry.path()).filter(|path| {
            path.extension().is_some_and(|extension| extension == "list" || extension == "sources")
        }));
    }
    lists
        .iter()
        .filter_map(|list| fs::read_to_string(list).ok())
        .find_map(|list| debian_uri(&list))
        .unwrap_or_else(|| "http://deb.debian.org/debian".into())
}

/// The first address of a Debian archive in a source list of either format.
fn debian_uri(list: &str) -> Option<String> {
    list.lines()
        .filter(|line| line.starts_with("deb ") || line.starts_with("URIs:"))
        .flat_map(str::split_whitespace)
        .find(|word| word.contains("://") && word.trim_end_matches('/').ends_with("/debian"))
        .map(str::to_owned)
}

#[test]
fn mirror_is_found_in_both_formats() {
    let one_line = "# deb http://no/debian x\ndeb [arch=amd64] https://a.example/debian/ trixie main";
    assert_eq!(debian_uri(one_line).as_deref(), Some("https://a.example/debian/"));
    let deb822 = "Types: deb\nURIs: http://b.example/debian-security http://b.example/debian\n";
    assert_eq!(debian_uri(deb822).as_deref(), Some("http://b.example/debian"));
    assert_eq!(debian_uri("URIs: http://archive.ubuntu.com/ubuntu"), None);
}
