//! The repositories for apt and dnf, on a web server that knows nothing of either.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::{deb, readme, released, rpm::rpm};
use crate::harness::{Host, Output, Release, Web};

/// What `make repository` makes.
pub struct Repository {
    folder: TempDir,
}

impl Repository {
    /// One with these releases, from the oldest to the newest.
    pub fn of(releases: &[&[PathBuf]]) -> Self {
        let repository = Self { folder: tempfile::tempdir().unwrap() };
        for release in releases {
            repository.add(release, &["key"]);
        }
        repository
    }

    /// One with the Debian packages of the release before and of this version.
    pub fn of_debs() -> Self {
        let names = ["pixeld", "pixeld-nginx"];
        let old = names.map(|name| released("deb", &format!("{name}_")));
        Self::of(&[&old, &names.map(deb)])
    }

    /// Adds a release, and signs with the keys of these names.
    pub fn add(&self, packages: &[PathBuf], keys: &[&str]) {
        let release = tempfile::tempdir().unwrap();
        for package in packages {
            fs::copy(package, release.path().join(package.file_name().unwrap())).unwrap();
        }
        let output = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/repository"))
            .arg(release.path())
            .arg(self.folder.path().join("served"))
            .arg(URL)
            .args(keys.iter().map(|key| self.folder.path().join(key)))
            .output()
            .expect("start packaging/repository");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// One with the packages for dnf of the release before and of this version.
    pub fn of_rpms() -> Self {
        let names = ["pixeld", "pixeld-nginx"];
        let old = names.map(|name| released("rpm", &format!("{name}-")));
        Self::of(&[&old, &names.map(rpm)])
    }

    /// The public half of a key.
    pub fn public_key(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(format!("{name}.public"))).unwrap()
    }

    /// The packages of this kind, of all releases.
    pub fn packages(&self, kind: &str) -> Vec<PathBuf> {
        let folders =
            ["apt/pool", "rpm/packages"].map(|folder| self.folder.path().join("served").join(folder));
        let files = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap().flatten());
        files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|own| own == kind)).collect()
    }

    /// The files by their paths in a URL.
    pub fn files(&self) -> HashMap<String, Vec<u8>> {
        let mut files = HashMap::new();
        collect(&self.folder.path().join("served"), "", &mut files);
        files
    }
}

fn collect(folder: &Path, prefix: &str, files: &mut HashMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = format!("{prefix}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            collect(&entry.path(), &path, files);
        } else {
            files.insert(path, fs::read(entry.path()).unwrap());
        }
    }
}

/// Where hosts find it: on themselves, because no network of a test leads to a web server.
pub const URL: &str = "http://127.0.0.1:8099";

pub fn serve(host: &Host, files: HashMap<String, Vec<u8>>) {
    serve_at(host, 8099, files);
}

pub fn serve_at(host: &Host, port: u16, files: HashMap<String, Vec<u8>>) {
    Web::serve(&host.client(), SocketAddr::from(([127, 0, 0, 1], port)), files);
}

/// The files, of which those whose path ends so, or is below such a folder, have another byte in their middle.
pub fn with_another_byte(files: &HashMap<String, Vec<u8>>, ending: &str) -> HashMap<String, Vec<u8>> {
    let mut changed = files.clone();
    let is_meant = |path: &str| path.ends_with(ending) || path.contains(&format!("{ending}/"));
    let mut found = changed.iter_mut().filter(|(path, _)| is_meant(path)).peekable();
    assert!(found.peek().is_some(), "no file ends with {ending}: {:?}", files.keys());
    for (_, content) in found {
        let middle = content.len() / 2;
        content[middle] ^= 0xff;
    }
    changed
}

/// A host that has added the repository as the README says.
pub fn host_with_repository(release: Release) -> Host {
    let host = Host::builder("c5").release(release).boot();
    // No other archive can be reached.
    host.run("rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*");
    serve(&host, Repository::of_debs().files());
    readme::follow(&host, &to_add()[..3]);
    host
}

/// Has apt install the newest version, as the README says.
pub fn install_newest(host: &Host) {
    readme::follow(host, &to_add()[3..]);
}

/// The commands of the README that add the repository, and the one that installs pixeld.
fn to_add() -> Vec<&'static str> {
    readme::block(
        "sudo curl -sSfo /etc/apt/keyrings/pixeld-archive-keyring.asc ADDRESS/pixeld-archive-keyring.asc",
    )
}

/// Has apt install packages, such as `pixeld=0.1.0`, without a question.
#[track_caller]
pub fn apt_install(host: &Host, packages: &str) {
    let output = host.run(&format!(
        "DEBIAN_FRONTEND=noninteractive apt-get install --yes --allow-downgrades -o Dpkg::Options::=--force-confold {packages}"
    ));
    super::assert_no_complaint(&output);
}

const KEYRING: &str = "/etc/apt/keyrings/pixeld-archive-keyring.asc";

/// Has apt read the lists of the repository at this port.
fn apt_update(host: &Host, port: u16) -> Output {
    host.run("rm -rf /var/lib/apt/lists/*");
    let sources = "/etc/apt/sources.list.d/pixeld.sources";
    host.run(&format!("sed -i 's,^URIs: .*,URIs: http://127.0.0.1:{port}/apt,' {sources}"));
    host.try_run("apt-get update")
}

#[test]
fn apt_rejects_a_changed_repository() {
    let host = host_with_repository(Release::Bookworm);
    let repository = Repository::of_debs();
    let files = repository.files();
    host.write(KEYRING, repository.public_key("key"));
    for (port, ending) in [(8001, "dists/stable/InRelease"), (8002, "dists/stable/main")] {
        serve_at(&host, port, with_another_byte(&files, ending));
        let output = apt_update(&host, port);
        assert_eq!(output.status, 100, "{ending}: {output}");
    }
    serve_at(&host, 8003, with_another_byte(&files, ".deb"));
    let output = apt_update(&host, 8003);
    assert!(output.success(), "{output}");
    // apt ignores a file that it does not find, and tries another name.
    assert!(!output.stdout.contains("Ign:"), "{output}");
    let output = host.try_run("apt-get install --yes pixeld");
    assert_eq!(output.status, 100, "{output}");
    serve_at(&host, 8004, files);
    host.write(KEYRING, Repository::of_debs().public_key("key"));
    assert_eq!(apt_update(&host, 8004).status, 100, "it is signed by another key");
    assert!(!host.try_run("dpkg -s pixeld").success());
}

#[test]
fn apt_accepts_either_key_while_one_is_rotated() {
    let host = host_with_repository(Release::Bookworm);
    let repository = Repository::of_debs();
    repository.add(&[deb("pixeld")], &["new", "key"]);
    serve_at(&host, 8001, repository.files());
    for key in ["key", "new"] {
        host.write(KEYRING, repository.public_key(key));
        let output = apt_update(&host, 8001);
        assert!(output.success(), "{key}: {output}");
    }
}
