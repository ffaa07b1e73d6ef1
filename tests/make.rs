//! The Makefile in a checkout, with a target folder and a DESTDIR whose names have spaces.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

/// Records what `build` is given and builds two scripts; everything else is the real Cargo's.
const CARGO: &str = r#"#!/bin/sh
[ "$1" = build ] || exec "$REAL_CARGO" "$@"
for argument; do printf '%s\n' "$argument"; done > "$CARGO_TARGET_DIR/arguments"
mkdir -p "$CARGO_TARGET_DIR/release"
for program in pixeld pixeldctl; do
    printf '#!/bin/sh\necho "$@"\n' > "$CARGO_TARGET_DIR/release/$program"
    chmod +x "$CARGO_TARGET_DIR/release/$program"
done
"#;

struct Checkout {
    folder: TempDir,
}

impl Checkout {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("with a space").tempdir().unwrap();
        let checkout = Self { folder };
        for part in ["a checkout", "a target", "tools"] {
            fs::create_dir(checkout.path(part)).unwrap();
        }
        for entry in fs::read_dir(env!("CARGO_MANIFEST_DIR")).unwrap() {
            let entry = entry.unwrap();
            let is_made = ["target", ".git"].iter().any(|name| entry.file_name() == *name);
            if !is_made {
                symlink(entry.path(), checkout.path("a checkout").join(entry.file_name())).unwrap();
            }
        }
        let cargo = checkout.path("tools/cargo");
        fs::write(&cargo, CARGO).unwrap();
        fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
        checkout
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    #[track_caller]
    fn make(&self, goal: &str) {
        let output = Command::new("make")
            .args([goal, "CARGO=cargo"])
            .arg(format!("DESTDIR={}", self.path("a root").display()))
            .current_dir(self.path("a checkout"))
            .env("PATH", format!("{}:{}", self.path("tools").display(), env!("PATH")))
            .env("REAL_CARGO", env!("CARGO"))
            .env("CARGO_TARGET_DIR", self.path("a target"))
            .env("CARGO_HOME", self.path("a home"))
            // This may itself run below make, whose job server is not for others.
            .env_remove("MAKEFLAGS")
            .env_remove("MAKELEVEL")
            .output()
            .unwrap();
        assert_success(goal, &output);
    }
}

#[track_caller]
fn assert_success(what: &str, output: &Output) {
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Every file below a folder, by its path there.
fn files(folder: &Path) -> Vec<String> {
    let output = Command::new("find").args([".", "-type", "f"]).current_dir(folder).output().unwrap();
    assert_success("find", &output);
    let mut files: Vec<_> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    files.sort();
    files
}

#[test]
fn build_in_a_folder_with_a_space_works() {
    let checkout = Checkout::new();
    checkout.make("build");
    let arguments = fs::read_to_string(checkout.path("a target").join("arguments")).unwrap();
    let config = arguments.lines().find(|line| line.starts_with("build.rustflags=")).expect("the flags");
    let config: toml::Table = config.parse().unwrap();
    let flags: Vec<_> =
        config["build"]["rustflags"].as_array().unwrap().iter().map(|flag| flag.as_str().unwrap()).collect();
    for (folder, name) in [("a checkout", "pixeld"), ("a target", "target"), ("a home", "cargo")] {
        let flag = format!("--remap-path-prefix={}=/usr/src/{name}", checkout.path(folder).display());
        assert!(flags.contains(&flag.as_str()), "{flag}: {flags:#?}");
    }
    let rustc = Command::new("rustc").args(&flags).args(["--print", "file-names", "-"]).output().unwrap();
    assert_success("rustc", &rustc);
    let completions = files(&checkout.path("a target/release/completions"));
    assert_eq!(completions, ["./pixeldctl.bash", "./pixeldctl.fish", "./pixeldctl.zsh"]);
}

#[test]
fn install_below_a_folder_with_a_space_works() {
    let checkout = Checkout::new();
    checkout.make("build");
    checkout.make("install");
    checkout.make("install-nginx");
    let installed = files(&checkout.path("a root"));
    for file in [
        "./usr/local/bin/pixeld",
        "./usr/local/bin/pixeldctl",
        "./usr/local/lib/systemd/system/pixeld.service",
        "./usr/local/share/man/man8/pixeld.8",
        "./etc/pixeld/pixeld.toml",
        "./etc/nginx/conf.d/pixeld.conf",
    ] {
        assert!(installed.iter().any(|path| path == file), "{file}: {installed:#?}");
    }
    checkout.make("uninstall");
    let left = files(&checkout.path("a root"));
    assert!(left.iter().all(|path| path.starts_with("./etc/")), "{left:#?}");
}
