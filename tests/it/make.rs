//! The Makefile in a checkout, with a target folder and a DESTDIR whose names have spaces, and the compiler that
//! `packaging/build-requirements` finds or names.

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
        "./usr/local/share/man/man8/pixeld.service.8",
        "./etc/pixeld/pixeld.toml",
        "./etc/nginx/conf.d/pixeld.conf",
    ] {
        assert!(installed.iter().any(|path| path == file), "{file}: {installed:#?}");
    }
    checkout.make("uninstall");
    let left = files(&checkout.path("a root"));
    let own = [
        "nginx/pixeld-logrotate.conf",
        "nginx/pixeld-upstreams.conf",
        "nginx/pixeld.d/ipv6.conf",
        "pixeld/pixeld.toml",
    ];
    let own = own.map(|file| format!("./etc/{file}"));
    assert!(left.iter().all(|path| own.contains(path)), "only what operators edit: {left:#?}");
}

/// `packaging/build-requirements` on a machine that has the commands which it uses, and these scripts.
fn require(arguments: &[&str], scripts: &[(&str, &str)]) -> Output {
    let tools = tempfile::tempdir().unwrap();
    for (name, script) in scripts {
        let path = tools.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    for name in ["cut", "grep", "head", "ls", "sed", "sort", "tr"] {
        let path = Command::new("sh").args(["-c", &format!("command -v {name}")]).output().unwrap().stdout;
        symlink(String::from_utf8(path).unwrap().trim(), tools.path().join(name)).unwrap();
    }
    Command::new("/bin/sh")
        .arg("packaging/build-requirements")
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_clear()
        .env("PATH", tools.path())
        .output()
        .unwrap()
}

#[track_caller]
fn assert_found(scripts: &[(&str, &str)], expected: &str) {
    let output = require(&["cargo"], scripts);
    assert_success("packaging/build-requirements cargo", &output);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), expected);
}

const OLD: [(&str, &str); 2] = [("cargo", "echo cargo 1.85.1"), ("rustc", "echo rustc 1.85.1")];

#[test]
fn newest_compiler_that_is_installed_is_found() {
    let named = [
        ("cargo-1.89", "echo 'cargo 1.89.0 (c24e10642 2025-06-23)'"),
        ("rustc-1.89", "echo 'rustc 1.89.0 (29483883e 2025-08-04)'"),
        ("cargo-1.100", "echo cargo 1.100.0"),
        ("rustc-1.100", "echo rustc 1.100.0"),
        // It has no rustc.
        ("cargo-1.101", "echo cargo 1.101.0"),
    ];
    assert_found(&[&named[..], &OLD].concat(), "cargo-1.100");
    assert_found(&named, "cargo-1.100");
    assert_found(
        &[&named[..], &[("cargo", "echo cargo 1.88.0"), ("rustc", "echo rustc 1.88.0")]].concat(),
        "cargo",
    );
    assert_found(&OLD, "cargo");
    assert_found(&[], "cargo");
}

/// Asserts what is named where cc is there, the compiler is not, and apt says this.
#[track_caller]
fn assert_named(compiler: &[(&str, &str)], apt_cache: &str, apt_get: &str, expected: &str) {
    let apt = [("cc", ":"), ("apt-cache", apt_cache), ("apt-get", apt_get)];
    let output = require(&[], &[compiler, &apt].concat());
    let printed = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(69), "{printed}");
    assert!(printed.contains(&format!("\n  {expected}\n")), "{printed}");
}

#[test]
fn missing_compiler_is_named_as_the_host_packages_it() {
    const RUSTUP: &str = "curl -sSf https://sh.rustup.rs | sh -s -- -y && . ~/.cargo/env";
    let apt = |package: &str| format!("sudo apt install --no-install-recommends {package}");
    let debian = r"case $* in
        *' cargo') echo 'Inst cargo (1.85.1+dfsg1-1 Debian:13.8/stable [amd64])' ;;
        *' cargo-web') echo 'Inst cargo-web (1.96.0+dfsg1-1~deb13u1+b1 Debian:13.8/stable [amd64])' ;;
        *) exit 100 ;;
    esac";
    assert_named(&[], "", debian, &apt("cargo-web"));
    let removing = format!("echo 'Remv cargo [1.85.1+dfsg1-1]'; {debian}");
    assert_named(&OLD, "", &removing, RUSTUP);
    let ubuntu = r"case $* in
        *' cargo') echo 'Inst cargo (1.75.0+dfsg0ubuntu1 Ubuntu:24.04/noble [amd64])' ;;
        *' cargo-1.91') echo 'Inst cargo-1.91 (1.91.1+dfsg~24.04 Ubuntu:24.04/noble-updates [amd64])' ;;
        *' cargo-1.89') echo 'Inst cargo-1.89 (1.89.0+dfsg~24.04 Ubuntu:24.04/noble-updates [amd64])' ;;
        *) exit 100 ;;
    esac";
    let names = "for one in 85 89 91; do echo cargo-1.$one - Rust package manager; done";
    assert_named(&[], names, ubuntu, &apt("cargo-1.91"));
    assert_named(&[], "", "exit 100", RUSTUP);
    assert_named(&[("rustup", ":")], names, ubuntu, "rustup default stable && rustup update");
}
