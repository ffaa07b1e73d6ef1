//! References of the pages exist, and the pages fit 80 columns.

use std::{collections::BTreeSet, path::Path, process::Command};

use super::page::{PAGES, displays, root};
use crate::support::{captured, code, stderr, stdout};

/// Pages of other software, by the Debian package that has them.
const OF_OTHERS: &[(&str, &[&str])] = &[
    (
        "systemd",
        &[
            "journalctl 1",
            "systemctl 1",
            "systemd 1",
            "systemd-socket-activate 1",
            "varlinkctl 1",
            "systemd.exec 5",
            "systemd.service 5",
            "systemd.socket 5",
            "systemd.journal-fields 7",
        ],
    ),
    ("libsystemd-dev", &["sd-daemon 3", "sd_listen_fds 3", "sd_notify 3", "sd_watchdog_enabled 3"]),
    ("manpages", &["socket 7", "unix 7"]),
    ("manpages-dev", &["accept 2", "getrlimit 2", "shutdown 2", "syslog 3"]),
    ("nginx", &["nginx 8"]),
    ("openssh-client", &["ssh 1"]),
    ("jq", &["jq 1"]),
    ("socat", &["socat 1"]),
];

fn references(page: &str) -> BTreeSet<String> {
    let words: Vec<_> = page.lines().flat_map(|line| line.split_whitespace()).collect();
    let is_macro = |word: &str| word.trim_start_matches('.') == "Xr";
    words
        .windows(3)
        .filter(|words| is_macro(words[0]))
        .map(|words| format!("{} {}", words[1], words[2]))
        .collect()
}

#[test]
fn referenced_pages_exist() {
    let others: BTreeSet<_> = OF_OTHERS.iter().flat_map(|(_, pages)| *pages).copied().collect();
    let ours: BTreeSet<_> = PAGES.iter().map(|(name, _)| *name).collect();
    let mut named = BTreeSet::new();
    for (name, page) in PAGES {
        for reference in references(page) {
            let known = others.contains(reference.as_str()) || ours.contains(reference.as_str());
            assert!(known, "{name} refers to {reference}");
            named.insert(reference);
        }
        let see_also = super::page::section(page, "SEE ALSO");
        assert!(!references(see_also).contains(name), "{name} refers to itself");
        let missing = ours.iter().filter(|ours| **ours != name && !references(see_also).contains(**ours));
        assert_eq!(missing.collect::<Vec<_>>(), Vec::<&&str>::new(), "{name} does not refer to all others");
    }
    let unused: Vec<_> = others.iter().filter(|page| !named.contains(**page)).collect();
    assert!(unused.is_empty(), "{unused:?}");
}

#[test]
fn referenced_sections_exist() {
    let titles = |page: &'static str| {
        let lines = page.lines();
        let titles = lines.filter_map(|line| line.strip_prefix(".Sh ").or_else(|| line.strip_prefix(".Ss ")));
        titles.collect::<BTreeSet<_>>()
    };
    let mut count = 0;
    for (name, page) in PAGES {
        let lines: Vec<_> = page.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let Some((_, title)) = line.split_once("Sx ") else { continue };
            let title = title.trim_end_matches([' ', '.', ',', ';']);
            let elsewhere = lines[at + 1..].first().filter(|next| **next == "in");
            let other = elsewhere.and_then(|_| lines.get(at + 2)?.strip_prefix(".Xr "));
            let other = other.map(|other| other.split(' ').take(2).collect::<Vec<_>>().join(" "));
            let found = match other {
                Some(other) => PAGES.iter().find(|(name, _)| *name == other).expect("one of ours").1,
                None => page,
            };
            assert!(titles(found).contains(title), "{name}: {title}");
            count += 1;
        }
    }
    assert!(count > 5, "only {count} references were found");
}

fn file(name: &str) -> String {
    let file = root().join("man").join(name.replace(' ', "."));
    assert!(Path::new(&file).exists(), "{}", file.display());
    file.to_str().unwrap().into()
}

#[test]
fn formatters_have_no_warning() {
    for (name, _) in PAGES {
        let mandoc = captured(Command::new("mandoc").args(["-T", "lint", "-W", "warning", &file(name)]));
        assert_eq!((code(&mandoc), stdout(&mandoc).as_str()), (0, ""), "{name}");
        let groff = captured(Command::new("groff").args(["-mandoc", "-T", "utf8", "-ww", "-z", &file(name)]));
        assert_eq!((code(&groff), stderr(&groff).as_str()), (0, ""), "{name}");
    }
}

/// Literal displays may be wider, because a reader copies them.
#[test]
fn every_page_fits_80_columns() {
    for (name, page) in PAGES {
        let shown = captured(Command::new("mandoc").args(["-T", "utf8", "-O", "width=80", &file(name)]));
        let text: String = strip_overstrikes(&stdout(&shown));
        let wide = text.lines().filter(|line| line.chars().count() > 80);
        let displays: Vec<_> = displays(page).collect();
        let in_display = |line: &&str| displays.iter().any(|display| display.contains(line.trim()));
        let wide: Vec<_> = wide.filter(|line| !in_display(line)).collect();
        assert!(wide.is_empty(), "{name}: {wide:#?}");
    }
}

/// Formatters replace these characters with typographic ones, which a shell does not accept.
#[test]
fn displays_can_be_copied() {
    for (name, page) in PAGES {
        let shown =
            page.split("\n.Bd -literal").skip(1).map(|display| display.split("\n.Ed").next().unwrap());
        let bare: Vec<_> =
            shown.flat_map(str::lines).filter(|line| line.contains(['\'', '`', '~', '^'])).collect();
        assert!(bare.is_empty(), "{name}: write \\(aq, \\(ga, \\(ti, \\(ha: {bare:#?}");
    }
}

/// Bold and underlined characters are printed over each other.
fn strip_overstrikes(text: &str) -> String {
    let mut plain = String::new();
    for c in text.chars() {
        match c {
            '\u{8}' => _ = plain.pop(),
            _ => plain.push(c),
        }
    }
    plain
}
