use super::*;
use crate::config::{TakesEffect, changes};

struct Tree(tempfile::TempDir);

impl Tree {
    fn new(files: &[(&str, &str)]) -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        for (path, text) in files {
            let path = tree.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        tree
    }

    fn load(&self) -> Result<Loaded, ConfigErrors> {
        Sources::Folders(["usr/lib", "run", "etc"].map(|f| self.0.path().join(f)).into()).load()
    }

    fn errors(&self) -> Vec<String> {
        let root = format!("{}/", self.0.path().display());
        self.load().unwrap_err().lines().iter().map(|line| line.replace(&root, "")).collect()
    }
}

#[test]
fn no_file_means_defaults() {
    let loaded = Tree::new(&[]).load().unwrap();
    assert_eq!(loaded.settings, Settings::default());
    assert!(loaded.files.is_empty() && loaded.origins.is_empty());
}

#[test]
fn later_file_overrides_key_by_key() {
    let tree = Tree::new(&[
        ("usr/lib/pixeld/pixeld.toml", "workers = 9\n[limits]\nbody = 1000"),
        ("etc/pixeld/pixeld.toml", "workers = 2\n[limits]\nhead = 9000"),
        ("usr/lib/pixeld/pixeld.toml.d/50-a.toml", "workers = 3"),
        ("run/pixeld/pixeld.toml.d/60-b.toml", "workers = 4\n[log]\nlevel = \"debug\""),
        ("etc/pixeld/pixeld.toml.d/60-b.toml", "\nworkers = 5"),
        ("etc/pixeld/pixeld.toml.d/ignored.conf", "workers = 6"),
    ]);
    let loaded = tree.load().unwrap();
    assert_eq!(loaded.settings.workers.count(), 5);
    assert_eq!(loaded.settings.limits.header, 9000);
    assert_eq!(loaded.settings.limits.body, Settings::default().limits.body);
    assert_eq!(loaded.settings.log.level, Settings::default().log.level);
    let origin = &loaded.origins["workers"];
    assert!(origin.path.ends_with("etc/pixeld/pixeld.toml.d/60-b.toml"));
    assert_eq!(origin.line, 2);
}

#[test]
fn editor_backups_in_the_folder_are_ignored() {
    let leftovers =
        ["50.toml~", ".50.toml.swp", "#50.toml#", ".#50.toml", "50.toml.dpkg-old", "50.toml.rpmsave", "4913"];
    let files = leftovers.map(|name| (format!("etc/pixeld/pixeld.toml.d/{name}"), "workers = = 9"));
    let mut files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    files.push(("etc/pixeld/pixeld.toml.d/50.toml", "workers = 3"));
    let loaded = Tree::new(&files).load().unwrap();
    assert_eq!((loaded.settings.workers.count(), loaded.files.len()), (3, 1));
}

#[test]
fn byte_order_mark_and_crlf_change_nothing() {
    let text = "\u{feff}# from elsewhere\r\n[limits]\r\nbody = 1000\r\n";
    let tree = Tree::new(&[("etc/pixeld/pixeld.toml", text)]);
    let loaded = tree.load().unwrap();
    assert_eq!((loaded.settings.limits.body, loaded.origins["limits.body"].line), (1000, 3));
    let text = text.replace("1000", "none");
    let errors = Tree::new(&[("etc/pixeld/pixeld.toml", text.as_str())]).errors();
    assert!(errors[0].starts_with("etc/pixeld/pixeld.toml:3: "), "{errors:?}");
}

#[test]
fn folder_masks_only_weaker_folders() {
    let tree = Tree::new(&[
        ("usr/lib/pixeld/pixeld.toml.d/50-a.toml", "workers = 3"),
        ("etc/pixeld/pixeld.toml.d/40-b.toml", "[limits]\nbody = 1000"),
    ]);
    let mask = |name: &str, target: &Path| {
        let path = tree.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, path).unwrap();
    };
    mask("run/pixeld/pixeld.toml.d/40-b.toml", Path::new("/dev/null"));
    // As an image's builder writes it, who has the root somewhere else.
    let up = "../".repeat(tree.0.path().components().count() + 4);
    mask("run/pixeld/pixeld.toml.d/50-a.toml", &Path::new(&up).join("dev/null"));
    let loaded = tree.load().unwrap();
    assert_eq!(loaded.settings.workers, Settings::default().workers, "/run masks /usr/lib");
    assert_eq!(loaded.settings.limits.body, 1000, "/run does not mask /etc");
    assert_eq!(loaded.files.len(), 1);
}

#[test]
fn empty_drop_in_masks_weaker_one() {
    let tree = Tree::new(&[
        ("usr/lib/pixeld/pixeld.toml.d/50-a.toml", "workers = 3"),
        ("etc/pixeld/pixeld.toml.d/50-a.toml", ""),
    ]);
    assert_eq!(tree.load().unwrap().settings, Settings::default());
}

#[test]
fn strongest_main_file_hides_the_others() {
    let folders = ["etc", "run", "usr/lib"];
    let main = |folder: &str| format!("{folder}/pixeld/pixeld.toml");
    let files = folders.map(main);
    let tree =
        Tree::new(&[(&files[0], "workers = 1"), (&files[1], "workers = 2"), (&files[2], "workers = 3")]);
    for (file, workers) in files.iter().zip(1..) {
        assert_eq!(tree.load().unwrap().settings.workers.count(), workers, "{file}");
        fs::remove_file(tree.0.path().join(file)).unwrap();
    }
    fs::write(tree.0.path().join(&files[1]), "workers = 2").unwrap();
    let etc = tree.0.path().join(&files[0]);
    std::os::unix::fs::symlink("/dev/null", &etc).unwrap();
    let loaded = tree.load().unwrap();
    assert_eq!(loaded.settings, Settings::default());
    assert!(loaded.files.is_empty());

    fs::remove_file(&etc).unwrap();
    std::os::unix::fs::symlink("nowhere", &etc).unwrap();
    assert_eq!(
        tree.errors(),
        ["etc/pixeld/pixeld.toml: cannot be read: link to nowhere, which does not exist"]
    );
}

#[test]
fn named_dev_null_means_defaults() {
    assert_eq!(Sources::File("/dev/null".into()).load().unwrap().settings, Settings::default());
}

#[test]
fn drop_in_link_is_followed_or_reported() {
    let tree = Tree::new(&[("elsewhere.toml", "workers = 3"), ("run/pixeld/pixeld.toml.d", "a file")]);
    let folder = tree.0.path().join("etc/pixeld/pixeld.toml.d");
    fs::create_dir_all(&folder).unwrap();
    std::os::unix::fs::symlink(tree.0.path().join("elsewhere.toml"), folder.join("a.toml")).unwrap();
    let errors = tree.errors();
    assert!(errors[0].starts_with("run/pixeld/pixeld.toml.d: cannot be read: Not a directory"), "{errors:?}");
    fs::remove_file(tree.0.path().join("run/pixeld/pixeld.toml.d")).unwrap();
    assert_eq!(tree.load().unwrap().settings.workers.count(), 3);
    fs::remove_file(tree.0.path().join("elsewhere.toml")).unwrap();
    let error =
        "etc/pixeld/pixeld.toml.d/a.toml: cannot be read: link to elsewhere.toml, which does not exist";
    assert_eq!(tree.errors(), [error]);
}

#[test]
fn same_address_for_two_sockets_is_rejected() {
    let tree =
        Tree::new(&[("etc/pixeld/pixeld.toml", "[listen]\nadmin = \"unix:/s\"\nhttp = [\"unix:/s\"]")]);
    assert_eq!(
        tree.errors(),
        ["etc/pixeld/pixeld.toml:2: listen.admin: same address as listen.http: each socket needs its own"]
    );
}

#[test]
fn every_error_has_file_line_and_key() {
    let tree = Tree::new(&[
        ("etc/pixeld/pixeld.toml", "workers = 0\n\n[limits]\nbodi = 1\nbody = \"x\"\n[limit]\nhead = 1\n"),
        ("etc/pixeld/pixeld.toml.d/a.toml", "timeouts.keep_alive = \"1s\"\n[nothing]\n"),
        ("etc/pixeld/pixeld.toml.d/b.toml", "workers = = 1"),
    ]);
    let errors = tree.errors();
    for (error, start) in errors.iter().zip([
        "etc/pixeld/pixeld.toml:1: workers: 0 is not valid",
        "etc/pixeld/pixeld.toml:4: limits.bodi: unknown key (did you mean limits.body?)",
        "etc/pixeld/pixeld.toml:5: limits.body: \"x\" is not a size",
        "etc/pixeld/pixeld.toml:7: limit.head: unknown key (did you mean limits.header?)",
        "etc/pixeld/pixeld.toml.d/a.toml:1: timeouts.keep_alive: unknown key (did you mean timeouts.keep-alive?)",
        "etc/pixeld/pixeld.toml.d/a.toml:2: nothing: unknown key",
        "etc/pixeld/pixeld.toml.d/b.toml:1: ",
    ]) {
        assert!(error.starts_with(start), "{error}\n{start}");
    }
    assert!(errors.len() >= 7, "{errors:#?}");
}

#[test]
fn key_of_no_section_is_sent_above_the_first() {
    let tree = Tree::new(&[
        ("etc/pixeld/pixeld.toml", "# a\n[limits]\nbody = \"1KiB\"\n[log]\nlevel = \"info\"\nworkers = 3\n"),
        ("etc/pixeld/pixeld.toml.d/a.toml", "log.workers = 3\n[limits]\n"),
    ]);
    let errors = tree.errors();
    assert_eq!(
        errors[0],
        "etc/pixeld/pixeld.toml:6: log.workers: unknown key (`workers` belongs outside all sections: \
         move line 6 above line 2, where the first section begins)"
    );
    assert!(errors[1].ends_with("did you mean workers?)"), "{errors:#?}");
}

#[test]
fn duplicate_key_error_has_its_first_line() {
    for (text, errors) in [
        ("workers = 1\n\nworkers = 2", &["3: workers: already set in line 1: keep one of them"][..]),
        (
            "[limits]\nheader = 1\n[timeouts]\nheader = 2\nheader = 3",
            &["5: timeouts.header: already set in line 4"],
        ),
        ("limits.body = 1\nworkers = 1\nlimits.body = 2", &["3: limits.body: already set in line 1"]),
        ("[log]\nlevel = 1\n[limits]\n\"body\" = 1\nbody = 2", &["5: limits.body: already set in line 4"]),
        ("limits = {\nbody = 1, header = 1,\nbody = 2}", &["3: limits.body: already set in line 2"]),
        (
            "[limits]\nhead = 1\n[timeouts]\nhead = 1\n[limits]\nbody = 1\n",
            &["5: limits: this section already begins in line 1: write its keys there"],
        ),
        ("limits = {}\n[limits]\nbody = 1\n", &["2: limits: already set in line 1: keep one of them"]),
        (
            "limits.body = 1\n[limits]\nbody = 1\n",
            &["2: limits: already set in line 1", "3: limits.body: already set in line 1"],
        ),
        ("[limits]\nbody = 1\n[limits.body]\n", &["3: limits.body: already set in line 2"]),
        ("a = 1\nx = { y = 1, z = { a = 1,\na = 2 } }", &["3: x.z.a: already set in line 2"]),
    ] {
        let reported = Tree::new(&[("etc/pixeld/pixeld.toml", text)]).errors();
        assert_eq!(reported.len(), errors.len(), "{reported:?}");
        for (reported, error) in reported.iter().zip(errors) {
            assert!(reported.starts_with(&format!("etc/pixeld/pixeld.toml:{error}")), "{reported}");
        }
    }
}

#[test]
fn invalid_utf8_error_has_its_line() {
    let tree = Tree::new(&[("etc/pixeld/pixeld.toml", "")]);
    fs::write(tree.0.path().join("etc/pixeld/pixeld.toml"), b"workers = 1\n# caf\xe9\n").unwrap();
    assert_eq!(tree.errors(), ["etc/pixeld/pixeld.toml:2: this line is not UTF-8: save the file as UTF-8"]);
}

#[test]
fn named_file_that_is_missing_is_an_error() {
    let tree = Tree::new(&[("some.toml", "workers = 1"), ("some.toml.d/a.toml", "workers = 7")]);
    let loaded = Sources::File(tree.0.path().join("some.toml")).load().unwrap();
    assert_eq!(loaded.settings.workers.count(), 7);
    let errors = Sources::File(tree.0.path().join("other.toml")).load().unwrap_err();
    assert!(errors.to_string().contains("other.toml: cannot be read"), "{errors}");
}

#[test]
fn shipped_file_shows_every_key_at_its_default() {
    let shipped = include_str!("../../../pixeld.toml");
    let (mut section, mut shown) = (String::new(), Vec::new());
    let uncommented: String = shipped
        .lines()
        .map(|line| {
            if line.starts_with('[') {
                section = format!("{}.", line.trim_matches(['[', ']']));
            }
            let assignment = line.strip_prefix('#').filter(|rest| !rest.starts_with([' ', '#']));
            if let Some((name, value)) = assignment.and_then(|rest| rest.split_once(" = ")) {
                shown.push((format!("{section}{name}"), value.to_owned()));
            }
            format!("{}\n", assignment.unwrap_or(line))
        })
        .collect();
    let defaults: Vec<_> =
        KEYS.iter().map(|key| (key.name.to_owned(), (key.show)(&Settings::default()))).collect();
    assert_eq!(shown, defaults);

    let tree = Tree::new(&[("etc/pixeld/pixeld.toml", &uncommented)]);
    let loaded = tree.load().unwrap();
    assert_eq!(loaded.settings, Settings::default());
    assert_eq!(loaded.origins.len(), KEYS.len());
    let tree = Tree::new(&[("etc/pixeld/pixeld.toml", shipped)]);
    assert_eq!(tree.load().unwrap().origins.len(), 0);
}

#[test]
fn each_key_is_compared_by_itself() {
    let from = Settings::default();
    let tree = Tree::new(&[("etc/pixeld/pixeld.toml", "[limits]\nbody = 1000\n[log]\ntarget = \"stderr\"")]);
    let to = tree.load().unwrap().settings;
    let changed: Vec<_> = changes(&from, &to).iter().map(|key| (key.name, key.takes_effect)).collect();
    assert_eq!(changed, [("limits.body", TakesEffect::AtReload), ("log.target", TakesEffect::AtRestart)]);
}

/// A faulty file: its text, the number of its errors, and how the first begins.
type Faulty = (String, usize, &'static str);

/// Files below the limit of a file whose report would take minutes and megabytes, were each error described.
fn large_faulty_files() -> Vec<Faulty> {
    vec![
        ("workers = 4\n".repeat(80_000), 79_999, "2: workers: already set in line 1"),
        ((0..80_000).map(|i| format!("k{i}=1\n")).collect(), 80_000, "1: k0: unknown key"),
        ("a\n".repeat(500_000), 500_000, "1: key with no value"),
        ("=".repeat(1 << 20), (1 << 20) - 1, "1: extra `=`"),
        ("[limits]\n".repeat(100_000), 99_999, "2: limits: this section already begins in line 1"),
        (
            format!("limits = {{{}}}", "body=1,".repeat(140_000)),
            139_999,
            "1: limits.body: already set in line 1",
        ),
        (format!("{} = 1", "k".repeat(1_000_000)), 1, "1: kkkk"),
        (format!("workers = \"{}\"", "\u{202e}".repeat(300_000)), 1, "1: workers: \"\\u{202e}"),
        (format!("workers = {}", "1".repeat(1_000_000)), 1, "1: workers: 1111"),
        (
            format!("listen.http = [{}]", "\"127.0.0.1:1\",".repeat(60_000)),
            1,
            "1: listen.http: the list has 60000",
        ),
    ]
}

#[test]
fn large_faulty_file_has_a_short_report() {
    for (text, total, first) in large_faulty_files() {
        let errors = Tree::new(&[("etc/pixeld/pixeld.toml.d/a.toml", &text)]).errors();
        let listed = total.min(ConfigErrors::MAX_LISTED);
        assert!(errors[0].starts_with(&format!("etc/pixeld/pixeld.toml.d/a.toml:{first}")), "{}", errors[0]);
        let rest = (total > listed).then(|| format!("and {} more", total - listed));
        assert_eq!(errors[listed..], Vec::from_iter(rest));
        let bytes: usize = errors.iter().map(String::len).sum();
        assert!(bytes < 8_000, "{bytes} bytes: {first}");
    }
}

#[test]
fn deep_nesting_is_an_error_at_its_line() {
    let dotted = format!("{}a", "a.".repeat(79));
    let tables = format!("{{{dotted}=").repeat(78) + "1" + &"}".repeat(78);
    for text in [
        format!("\n[{dotted}]\n"),
        format!("\n{dotted} = 1"),
        format!("\na = {}", "[".repeat(500_000)),
        format!("\n{} = 1", "a.".repeat(500_000)),
        // Each key and each value is within the limits of the parser; together they are too deep to be dropped.
        format!("\na = {tables}"),
        format!("\n[[{dotted}]]\n{dotted} = {tables}"),
    ] {
        let errors = Tree::new(&[("etc/pixeld/pixeld.toml", &text)]).errors();
        assert_eq!(errors, ["etc/pixeld/pixeld.toml:2: nested too deeply: no key has more than two parts"]);
    }
}

#[test]
fn names_in_a_report_are_escaped() {
    let tree = Tree::new(&[
        ("etc/pixeld/pixeld.toml.d/a\x1b[2J\u{202e}\n.toml", "\"k\\u001b[2J\\n\u{2028}\" = 1\n"),
        ("etc/pixeld/pixeld.toml.d/b.toml", "workers = \"\\u009b\u{2066}\\n\""),
    ]);
    let errors = tree.errors();
    assert_eq!(
        errors[0],
        "etc/pixeld/pixeld.toml.d/a\\u{1b}[2J\\u{202e}\\n.toml:1: k\\u{1b}[2J\\n\\u{2028}: unknown key"
    );
    assert!(errors[1].contains("workers: \"\\u{9b}\\u{2066}\\n\" is not valid"), "{errors:?}");
}

#[test]
fn size_and_number_of_files_are_bounded() {
    let at_limit = "#".repeat(1 << 20);
    let tree = Tree::new(&[("etc/pixeld/pixeld.toml", &at_limit)]);
    tree.load().unwrap();
    fs::write(tree.0.path().join("etc/pixeld/pixeld.toml"), at_limit.clone() + "#").unwrap();
    let errors = tree.errors();
    assert!(errors[0].starts_with("etc/pixeld/pixeld.toml: cannot be read: longer than 1 MiB"), "{errors:?}");

    let names: Vec<_> = (0..5).map(|i| format!("etc/pixeld/pixeld.toml.d/{i}.toml")).collect();
    let tree = Tree::new(&names.iter().map(|name| (name.as_str(), at_limit.as_str())).collect::<Vec<_>>());
    let errors = tree.errors();
    assert!(errors[0].starts_with("etc/pixeld/pixeld.toml.d/4.toml: ") && errors.len() == 1, "{errors:?}");

    let names: Vec<_> = (0..300).map(|i| format!("etc/pixeld/pixeld.toml.d/{i}.toml")).collect();
    let tree = Tree::new(&names.iter().map(|name| (name.as_str(), "")).collect::<Vec<_>>());
    let errors = tree.errors();
    assert!(
        errors[0].starts_with("etc/pixeld/pixeld.toml.d: cannot be read: there are more than 255"),
        "{errors:?}"
    );
}

#[test]
fn irregular_file_is_rejected_without_waiting() {
    let tree = Tree::new(&[("etc/pixeld/pixeld.toml.d/b.toml/file", "")]);
    let folder = tree.0.path().join("etc/pixeld/pixeld.toml.d");
    nix::unistd::mkfifo(&folder.join("a.toml"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::os::unix::fs::symlink("/dev/zero", folder.join("c.toml")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(folder.join("d.toml")).unwrap();
    let errors = tree.errors();
    for (error, file) in errors.iter().zip(["a", "b", "c", "d"]) {
        assert!(
            error.starts_with(&format!("etc/pixeld/pixeld.toml.d/{file}.toml: cannot be read: ")),
            "{error}"
        );
    }
    assert_eq!(errors.len(), 4);
}

#[test]
fn foreign_encodings_and_typography_are_explained() {
    let tree = Tree::new(&[("etc/pixeld/pixeld.toml", "")]);
    let utf_16 =
        |order: fn(u16) -> [u8; 2], text: &str| text.encode_utf16().flat_map(order).collect::<Vec<u8>>();
    let quotes = "2: this line has typographic quotes: write \"";
    for (bytes, error) in [
        (utf_16(u16::to_le_bytes, "workers = 1\n"), "1: this is UTF-16: save the file as UTF-8"),
        (utf_16(u16::to_be_bytes, "workers = 1\n"), "1: this is UTF-16: save the file as UTF-8"),
        (utf_16(u16::to_le_bytes, "\u{feff}workers = 1\n"), "1: this is UTF-16: save the file as UTF-8"),
        (b"workers = 1\n# \0 #######\n".into(), "2: this line has a NUL byte"),
        ("\nlog.level = \u{201c}info\u{201d}\n".into(), quotes),
        ("\nlog.level = \u{2018}info\u{2019}\n".into(), quotes),
        ("\nworkers\u{a0}= 1\n".into(), "2: this line has a no-break space"),
        ("\ntimeouts.keep\u{2011}alive = \"1s\"\n".into(), "2: this line has a typographic dash"),
    ] {
        fs::write(tree.0.path().join("etc/pixeld/pixeld.toml"), bytes).unwrap();
        let errors = tree.errors();
        assert!(errors[0].starts_with(&format!("etc/pixeld/pixeld.toml:{error}")), "{errors:?}");
        assert_eq!(errors.len(), 1, "{errors:?}");
    }
    fs::write(tree.0.path().join("etc/pixeld/pixeld.toml"), "# \u{201c}auto\u{201d}\nworkers = 1\n").unwrap();
    tree.load().unwrap();
}

#[test]
fn unreadable_file_error_names_user_and_command() {
    let tree = Tree::new(&[("etc/pixeld/pixeld.toml", "")]);
    let path = tree.0.path().join("etc/pixeld/pixeld.toml");
    let uid = nix::unistd::geteuid();
    for (path, mode) in [(path.as_path(), "a+r"), (path.parent().unwrap(), "a+rx")] {
        let error = unreadable(path, &io::ErrorKind::PermissionDenied.into()).0;
        assert!(error.starts_with(&format!("{}: cannot be read by ", path.display())), "{error}");
        assert!(error.contains(&format!("uid {uid}")), "{error}");
        assert!(error.ends_with(&format!("chmod {mode} '{}'", path.display())), "{error}");
    }
}

#[test]
fn old_names_of_keys_are_accepted_with_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pixeld.toml");
    fs::write(&file, "[limits]\nhead = \"9KiB\"\n[timeouts]\nhead = \"3s\"\n").unwrap();
    let loaded = Sources::File(file.clone()).load().unwrap();
    assert_eq!(loaded.settings.limits.header, 9 << 10);
    let warnings = loaded.warnings.lines();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    for (warning, new) in warnings.iter().zip(["limits.header", "timeouts.header"]) {
        assert!(warning.contains(new), "{warning}");
    }
    fs::write(&file, "limits.head = \"9KiB\"\nlimits.header = \"9KiB\"\n").unwrap();
    let errors = Sources::File(file.clone()).load().unwrap_err().lines();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(
        errors[0].contains("limits.head:") && errors[0].contains("deprecated name of limits.header"),
        "{errors:?}"
    );
    fs::write(&file, "limits.head = 1\n").unwrap();
    let errors = Sources::File(file).load().unwrap_err().lines();
    assert!(errors[0].contains(":1: limits.head: 1 is out of range"), "the name in the file: {errors:?}");
}
