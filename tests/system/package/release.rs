//! `make sign-release` and `make verify-release` with the files of a release. Needs no host.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::{env, fs};

const KEY: &str = "key";

/// Runs a script of packaging/ in a folder.
fn script(folder: &Path, name: &str, key: &str) -> Output {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(name))
        .args(["release", key])
        .current_dir(folder)
        .output()
        .expect("start a script")
}

fn signed_release() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let release = folder.path().join("release");
    fs::create_dir(&release).unwrap();
    fs::write(release.join("pixeld_0.2.0_amd64.deb"), "a package").unwrap();
    fs::write(release.join("RELEASE-NOTES.md"), "what changed").unwrap();
    let output = script(folder.path(), "sign-release", KEY);
    assert!(output.status.success(), "{output:?}");
    folder
}

fn verify(folder: &Path) -> Output {
    script(folder, "verify-release", "key.public")
}

#[test]
fn release_with_any_changed_byte_is_rejected() {
    let folder = signed_release();
    let output = verify(folder.path());
    assert!(output.status.success(), "{output:?}");
    let mut files = 0;
    for file in fs::read_dir(folder.path().join("release")).unwrap().flatten() {
        let content = fs::read(file.path()).unwrap();
        // Each is too many.
        for index in (0..content.len()).step_by(4) {
            let mut changed = content.clone();
            changed[index] ^= 0xff;
            fs::write(file.path(), changed).unwrap();
            let output = verify(folder.path());
            assert_eq!(output.status.code(), Some(1), "byte {index} of {:?}: {output:?}", file.file_name());
        }
        fs::write(file.path(), content).unwrap();
        files += 1;
    }
    assert_eq!(files, 4);
    assert!(verify(folder.path()).status.success());
}

#[test]
fn release_with_other_files_or_key_is_rejected() {
    let folder = signed_release();
    let extra = folder.path().join("release/extra.deb");
    fs::write(&extra, "not signed").unwrap();
    assert_eq!(verify(folder.path()).status.code(), Some(1));
    fs::remove_file(&extra).unwrap();
    let another = signed_release();
    fs::copy(another.path().join("key.public"), folder.path().join("another")).unwrap();
    assert_eq!(script(folder.path(), "verify-release", "another").status.code(), Some(1));
    assert!(verify(folder.path()).status.success());
    fs::remove_file(folder.path().join("release/RELEASE-NOTES.md")).unwrap();
    assert_eq!(verify(folder.path()).status.code(), Some(1));
}

#[test]
fn release_notes_are_those_of_the_version() {
    let folder = signed_release();
    fs::write(folder.path().join("CHANGELOG.md"), "# Changelog\n\n## [Unreleased]\n\n- New.\n\n## [0.2.0] - 2026-12-01\n\n- Done.\n\n## [0.1.0] - 2026-11-23\n\n- First.\n").unwrap();
    fs::write(
        folder.path().join("Cargo.toml"),
        "name = \"pixeld\"\nhomepage = \"https://forge.example/a/b\"\n",
    )
    .unwrap();
    fs::write(folder.path().join("release/pixeld-nginx_0.2.0_all.deb"), "a package").unwrap();
    let notes = |version| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/release-notes");
        let output =
            Command::new(script).args([version, "release"]).current_dir(folder.path()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (status, text) = notes("0.2.0");
    assert_eq!(status, Some(0));
    assert!(text.starts_with("- Done.\n\n### "), "{text}");
    let url = "https://forge.example/a/b/releases/download/v0.2.0/pixeld";
    for parameter in
        [format!(" PackageUrl={url}_0.2.0_amd64.deb "), format!("SitePackageUrl={url}-nginx_0.2.0_all.deb ")]
    {
        assert!(text.contains(&parameter), "{text}");
    }
    assert!(notes("0.3.0-dev").1.starts_with("- New.\n"));
    assert_eq!(notes("0.3.0").0, Some(65));
}

#[test]
fn forge_is_written_into_each_manifest() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = folder.path().join("Cargo.toml");
    fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"), &manifest).unwrap();
    let forge = |url: &str| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/set-forge");
        Command::new(script).arg(url).current_dir(folder.path()).status().unwrap().code()
    };
    for _ in 0..2 {
        assert_eq!(forge("https://forge.example/someone/pixeld/"), Some(0));
        let written: toml::Table = fs::read_to_string(&manifest).unwrap().parse().unwrap();
        let package = &written["package"];
        assert_eq!(package["homepage"].as_str(), Some("https://forge.example/someone/pixeld"));
        assert_eq!(package["repository"], package["homepage"]);
        let maintainer = package["metadata"]["deb"]["maintainer"].as_str();
        assert_eq!(maintainer, Some("pixeld maintainers <someone@users.noreply.forge.example>"));
    }
    for url in [
        "",
        "http://forge.example/a/b",
        "https://forge.example/a",
        "https://forge.example/a/b|c",
        "https:///a/b",
    ] {
        assert_eq!(forge(url), Some(64), "{url}");
    }
}

#[test]
fn version_is_written_into_each_file() {
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::create_dir(folder.path().join("fuzz")).unwrap();
    for file in ["Cargo.toml", "Cargo.lock", "fuzz/Cargo.lock", "README.md"] {
        fs::copy(root.join(file), folder.path().join(file)).unwrap();
    }
    let changelog = folder.path().join("CHANGELOG.md");
    fs::write(&changelog, "# Changelog\n\n## [Unreleased]\n\n- New.\n").unwrap();
    let set = |version: &str| {
        let script = root.join("packaging/set-version");
        Command::new(script).arg(version).current_dir(folder.path()).status().unwrap().code()
    };
    let read = |file: &str| fs::read_to_string(folder.path().join(file)).unwrap();
    assert_eq!([set("9.8"), set("9.8.7-dev")], [Some(64), Some(65)]);
    assert_eq!(set("9.8.7"), Some(0));
    let dated = read("CHANGELOG.md");
    assert!(dated.starts_with("# Changelog\n\n## [9.8.7] - 20"), "{dated}");
    assert_eq!([set("9.8.8"), set("9.9.0-dev")], [Some(65), Some(0)]);
    assert!(read("CHANGELOG.md").starts_with("# Changelog\n\n## [Unreleased]\n\n## [9.8.7] - 20"));
    for (file, times) in [("Cargo.toml", 2), ("Cargo.lock", 3), ("fuzz/Cargo.lock", 2)] {
        assert_eq!(read(file).matches("\"9.9.0-dev\"").count(), times, "{file}");
    }
    assert!(read("README.md").contains("pixeld: 9.9.0-dev (pid "));
}

/// objdump of Debian 12 does not know the type 0x6474e553 (PT_GNU_PROPERTY).
#[test]
fn rpm_requires_libraries_but_no_program_header() {
    let folder = tempfile::tempdir().unwrap();
    let objdump = folder.path().join("objdump");
    fs::write(&objdump, "#!/bin/sh\ncat <<END\n0x6474e553 off    0x0000000000000338 vaddr 0x0000000000000338 paddr 0x0\nDynamic Section:\n  NEEDED               libc.so.6\n\nVersion References:\n  required from libc.so.6:\n    0x06969194 0x00 16 GLIBC_2.34\nEND\n").unwrap();
    fs::set_permissions(&objdump, fs::Permissions::from_mode(0o755)).unwrap();
    let list = folder.path().join("files");
    let program = env::current_exe().unwrap();
    fs::write(&list, format!("{}\n", program.display())).unwrap();
    let output = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/rpm/requires"))
        .env("OBJDUMP", objdump)
        .stdin(fs::File::open(list).unwrap())
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "libc.so.6()(64bit)\nlibc.so.6(GLIBC_2.34)(64bit)\n"
    );
}

/// Rows of the changelog's table, such as `| key | `limits.head` | `limits.header` |`.
#[test]
fn changelog_has_the_names_of_this_version() {
    let document = |kind: &str| match kind {
        "key" => Some(include_str!("../../../man/pixeld.toml.5")),
        "event" => Some(include_str!("../../../man/pixeld-control.7")),
        "metric" | "field of `pixeldctl doctor --json`" => Some(include_str!("../../../man/pixeldctl.1")),
        "field" | "type" => {
            Some(include_str!("../../../crates/pixeld-control/src/io.pixeld.Control.varlink"))
        }
        _ => None,
    };
    let changelog = include_str!("../../../CHANGELOG.md");
    let rows = changelog.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let renamed: Vec<Vec<_>> =
        rows.map(|row| row.split(" | ").collect()).filter(|row: &Vec<_>| row[0] != "---").collect();
    let names: Vec<_> = renamed.iter().filter_map(|row| Some((row, document(row[0])?))).collect();
    assert_eq!(names.len(), 40);
    for (row, document) in names {
        let words = |text: &str| -> Vec<String> {
            text.split(|c: char| !c.is_alphanumeric() && c != '_').map(str::to_owned).collect()
        };
        let name = |column: usize| row[column].trim_matches('`').rsplit('.').next().unwrap().to_owned();
        let known = words(document);
        assert!(known.contains(&name(2)), "{} is no name of this version", row[2]);
        if ["event", "field", "metric"].contains(&row[0]) {
            assert!(!known.contains(&name(1)), "{} is still one", row[1]);
        }
    }
}
