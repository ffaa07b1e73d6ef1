//! Files of the package besides programs.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::deb;

const DOCUMENTS: &str = "usr/share/doc/pixeld";

fn unpacked() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let unpack = Command::new("dpkg-deb").arg("-x").arg(deb("pixeld")).arg(folder.path()).status();
    assert!(unpack.expect("start dpkg-deb").success());
    folder
}

fn gunzipped(path: &Path) -> String {
    let output = Command::new("gzip").arg("-dc").arg(path).output().expect("start gzip");
    assert!(output.status.success(), "{}: {output:?}", path.display());
    String::from_utf8(output.stdout).expect("it is text")
}

/// The libraries, such as "bytes-1.12.2", whose files a program names where it would panic.
fn named_by(program: &Path) -> BTreeSet<String> {
    let bytes = fs::read(program).expect("read the program");
    let text = String::from_utf8_lossy(&bytes);
    let paths = text.split("/registry/src/").skip(1);
    paths.filter_map(|path| path.split('/').nth(1)).map(str::to_owned).collect()
}

/// Those that the notices begin with: "bytes 1.12.2: MIT", and below it where its notices are.
fn noticed(notices: &str) -> BTreeSet<String> {
    let list =
        notices.split("\n---").next().unwrap().split("\n\n").nth(2).expect("a list after two paragraphs");
    let lines = list.lines().filter(|line| !line.starts_with(' '));
    lines.map(|line| line.split_once(": ").expect(line).0.replace(' ', "-")).collect()
}

fn billed(bom: &serde_json::Value) -> BTreeSet<String> {
    let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
    let components = bom["components"].as_array().expect("components");
    // The crates of this repository are in it, too; their licence is that of the package.
    let others = components.iter().filter(|one| !text(&one["name"]).starts_with("pixeld"));
    others.map(|one| format!("{}-{}", text(&one["name"]), text(&one["version"]))).collect()
}

#[test]
fn readme_links_to_nothing_outside_the_package() {
    let readme =
        fs::read_to_string(unpacked().path().join(DOCUMENTS).join("README.md")).expect("read the README");
    let links = readme.split("](").skip(1).map(|rest| rest.split(')').next().unwrap());
    let dead: Vec<_> = links.filter(|link| !link.starts_with("https://")).collect();
    assert!(dead.is_empty(), "{dead:?}");
}

#[test]
fn each_linked_library_has_notices_and_sbom_entry() {
    let folder = unpacked();
    let documents = folder.path().join(DOCUMENTS);
    let notices = gunzipped(&documents.join("third-party-notices.gz"));
    let bom = fs::read_to_string(documents.join("pixeld.cdx.json")).expect("read the bill of materials");
    let libraries = noticed(&notices);
    assert_eq!(libraries, billed(&serde_json::from_str(&bom).expect("JSON")));
    for program in ["pixeld", "pixeldctl"] {
        let named = named_by(&folder.path().join("usr/bin").join(program));
        assert!(named.len() > 5, "{program} names only {named:?}");
        assert!(named.is_subset(&libraries), "{program}: {:?}", named.difference(&libraries));
    }
    for text in [&notices, &bom] {
        assert!(!text.contains(env!("CARGO_MANIFEST_DIR")), "it names a folder of the machine that built it");
    }
}

#[test]
fn monitoring_examples_are_packaged() {
    let folder = unpacked();
    let packaged = folder.path().join(DOCUMENTS).join("examples/monitoring");
    for file in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("monitoring")).unwrap() {
        let file = file.unwrap();
        let text = fs::read(packaged.join(file.file_name())).expect("it is packaged");
        assert!(text == fs::read(file.path()).unwrap(), "{}", file.path().display());
    }
}

#[test]
fn each_notice_is_packaged() {
    let notices = gunzipped(&unpacked().path().join(DOCUMENTS).join("third-party-notices.gz"));
    let (list, texts) = notices.split_once("\n---").expect("texts after the list");
    let numbers: BTreeSet<usize> =
        list.lines().filter_map(|line| line.split_once(": text ")).map(|(_, n)| n.parse().unwrap()).collect();
    for number in &numbers {
        let (_, text) = texts.split_once(&format!("\nText {number}\n\n")).expect("a text for each number");
        let text = text.split("\n---").next().unwrap();
        let is_notice = ["opyright", "icense", "LICENSE", "licence"].iter().any(|word| text.contains(word));
        assert!(is_notice, "text {number} is none:\n{text}");
    }
    assert_eq!(numbers.last(), Some(&numbers.len()));
    assert!(texts.contains("The Rust Standard Library is dual-licensed"), "the compiler's own are missing");
}
