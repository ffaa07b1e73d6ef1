use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt, fs,
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use nix::fcntl::OFlag;
use toml::de::{DeTable, DeValue};

use super::{
    keys::{KEYS, Key},
    settings::Settings,
};

/// Which files make up the configuration.
#[derive(Debug, Clone)]
pub enum Sources {
    /// The system's: `pixeld/pixeld.toml` and `pixeld/pixeld.toml.d/*.toml` below each of these
    /// folders, the first being the weakest. The strongest main file counts alone; of drop-ins
    /// with equal names the strongest counts, and all are applied in the order of their names
    /// (UAPI configuration files specification).
    Folders(Vec<PathBuf>),
    /// One file, which has to exist, and the drop-ins in the folder of its name with `.d`.
    File(PathBuf),
}

impl Sources {
    /// Where a daemon of this system looks.
    pub fn system() -> Self {
        Self::Folders(["/usr/lib", "/run", "/etc"].map(PathBuf::from).into())
    }

    /// The files that exist, weakest first, and the folders that cannot be read.
    fn files(&self) -> (Vec<PathBuf>, Vec<Fault>) {
        let (main, folders) = match self {
            Self::Folders(roots) => {
                let main = roots.iter().rev().map(|root| root.join("pixeld/pixeld.toml"));
                let main = main.into_iter().find(|path| is_there(path));
                (main, roots.iter().map(|root| root.join("pixeld/pixeld.toml.d")).collect())
            }
            Self::File(path) => {
                let mut folder = path.clone().into_os_string();
                folder.push(".d");
                (Some(path.clone()), vec![PathBuf::from(folder)])
            }
        };
        let (mut drop_ins, mut faults) = (BTreeMap::new(), Vec::new());
        for folder in folders {
            if let Err(error) = scan(&folder, &mut drop_ins)
                && error.kind() != io::ErrorKind::NotFound
            {
                faults.push(unreadable(&folder, &error));
            }
        }
        let main = main.filter(|path| !is_mask(path));
        (main.into_iter().chain(drop_ins.into_values()).collect(), faults)
    }

    /// Reads, merges and checks all files.
    ///
    /// # Errors
    /// All faults of all files, not only the first.
    pub fn load(&self) -> Result<Loaded, Faults> {
        let (files, mut faults) = self.files();
        let mut loaded = Loaded { settings: Settings::default(), origins: BTreeMap::new(), files };
        for path in loaded.files.clone() {
            match read(&path) {
                Ok(text) => faults.extend(File { path: &path, text: &text }.apply(&mut loaded)),
                Err(error) => faults.push(unreadable(&path, &error)),
            }
        }
        if faults.is_empty() {
            faults.extend(loaded.contradiction());
        }
        if faults.is_empty() { Ok(loaded) } else { Err(Faults(faults)) }
    }
}

/// Reads a file, and nothing that has no end or makes whoever reads it wait.
fn read(path: &Path) -> io::Result<String> {
    /// No configuration is as long.
    const LONGEST: u64 = 1 << 20;

    let nonblocking = OFlag::O_NONBLOCK.bits();
    let file = fs::OpenOptions::new().read(true).custom_flags(nonblocking).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut text = String::new();
    file.take(LONGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LONGEST { Err(io::Error::other("it is longer than 1 MiB")) } else { Ok(text) }
}

/// Whether there is something by this name, also if it is a link to nothing, or cannot be looked at: that
/// is told when it is read, and nothing weaker is taken for it.
fn is_there(path: &Path) -> bool {
    path.symlink_metadata().map_or_else(|error| error.kind() != io::ErrorKind::NotFound, |_| true)
}

/// Whether this is a link to /dev/null, however it is written: nothing, in place of what is weaker.
fn is_mask(path: &Path) -> bool {
    path.canonicalize().is_ok_and(|target| target == Path::new("/dev/null"))
}

/// Adds the drop-ins of a stronger folder: `*.toml`, not hidden. One that is a link to /dev/null takes
/// that of a weaker folder away.
fn scan(folder: &Path, drop_ins: &mut BTreeMap<OsString, PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
        let is_drop_in =
            path.extension() == Some("toml".as_ref()) && !name.as_encoded_bytes().starts_with(b".");
        if is_drop_in && is_mask(&path) {
            drop_ins.remove(&name);
        } else if is_drop_in {
            drop_ins.insert(name, path);
        }
    }
    Ok(())
}

/// A configuration that is valid, and where each of its values comes from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The values.
    pub settings: Settings,
    /// For each key that a file sets, where it does; the others have their defaults.
    pub origins: BTreeMap<&'static str, Origin>,
    /// The files that were read, weakest first.
    pub files: Vec<PathBuf>,
}

impl Loaded {
    /// Each socket needs an address of its own.
    fn contradiction(&self) -> Option<Fault> {
        let listen = &self.settings.listen;
        let (key, other) = if listen.admin == listen.control {
            ("listen.admin", "listen.control")
        } else if listen.http.contains(&listen.control) {
            ("listen.control", "listen.http")
        } else if listen.http.contains(&listen.admin) {
            ("listen.admin", "listen.http")
        } else {
            return None;
        };
        let origin = self.origins.get(key).or_else(|| self.origins.get(other))?;
        let message = format!("{other} is the same address: each socket needs its own");
        Some(Fault { path: origin.path.clone(), line: Some(origin.line), key: Some(key.into()), message })
    }
}

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The file.
    pub path: PathBuf,
    /// The line, counted from 1.
    pub line: usize,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.path.display(), self.line)
    }
}

/// One thing that is wrong, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub path: PathBuf,
    /// The line, counted from 1, where there is one.
    pub line: Option<usize>,
    /// The dotted key, where it is known.
    pub key: Option<String>,
    /// What is wrong, and what to write instead.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        if let Some(key) = &self.key {
            write!(f, " {key}:")?;
        }
        write!(f, " {}", self.message)
    }
}

/// Everything that is wrong, in the order of the files.
#[derive(Debug, Clone, thiserror::Error)]
pub struct Faults(pub Vec<Fault>);

impl Faults {
    /// A line for each.
    pub fn lines(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().join("\n"))
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Fault {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => " (the user that the daemon runs as has to be able to read it)",
        io::ErrorKind::InvalidData => " (it has to be UTF-8)",
        _ => "",
    };
    Fault { path: path.into(), line: None, key: None, message: format!("cannot be read: {error}{hint}") }
}

struct File<'a> {
    path: &'a Path,
    text: &'a str,
}

impl File<'_> {
    /// Makes the assignments of this file; what is wrong with it comes back, line by line.
    fn apply(&self, loaded: &mut Loaded) -> Vec<Fault> {
        let (document, errors) = DeTable::parse_recoverable(self.text);
        if !errors.is_empty() {
            // What was recovered from broken syntax would only give faults that are none.
            let fault = |error: &toml::de::Error| {
                self.fault(error.span().unwrap_or_default().start, None, error.message())
            };
            return errors.iter().map(fault).collect();
        }
        let mut faults = Vec::new();
        for (name, value) in document.get_ref() {
            match value.get_ref() {
                DeValue::Table(section) if section.is_empty() && !is_section(name.get_ref()) => {
                    faults.push(self.unknown(name.span().start, name.get_ref()));
                }
                DeValue::Table(section) => faults.extend(section.iter().filter_map(|(key, value)| {
                    let name = format!("{}.{}", name.get_ref(), key.get_ref());
                    self.assign(&name, key.span().start, value.get_ref(), loaded).err()
                })),
                value => faults.extend(self.assign(name.get_ref(), name.span().start, value, loaded).err()),
            }
        }
        faults.sort_by_key(|fault| fault.line);
        faults
    }

    fn assign(&self, name: &str, at: usize, value: &DeValue<'_>, loaded: &mut Loaded) -> Result<(), Fault> {
        let key = Key::find(name).ok_or_else(|| self.unknown(at, name))?;
        (key.set)(&mut loaded.settings, value)
            .map_err(|message| self.fault(at, Some(name.into()), message))?;
        loaded.origins.insert(key.name, Origin { path: self.path.into(), line: self.line(at) });
        Ok(())
    }

    fn unknown(&self, at: usize, name: &str) -> Fault {
        if is_section(name) {
            return self.fault(
                at,
                Some(name.into()),
                format!("this is a section: write [{name}] on a line of its own"),
            );
        }
        let hint = match nearest(name) {
            Some(known) => format!("; did you mean {known}?"),
            None => String::new(),
        };
        self.fault(at, Some(name.into()), format!("there is no such key{hint}"))
    }

    fn fault(&self, at: usize, key: Option<String>, message: impl Into<String>) -> Fault {
        Fault { path: self.path.into(), line: Some(self.line(at)), key, message: message.into() }
    }

    fn line(&self, at: usize) -> usize {
        self.text.as_bytes()[..at.min(self.text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
    }
}

fn is_section(name: &str) -> bool {
    KEYS.iter().any(|key| key.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
}

/// The known key that is spelled most like `name`, or that has the same last word.
fn nearest(name: &str) -> Option<&'static str> {
    let normal = name.replace('_', "-").to_lowercase();
    let last_word = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    KEYS.iter()
        .map(|key| {
            let whole = distance(&normal, key.name);
            let word = distance(&last_word(&normal), &last_word(key.name)) + 1;
            (whole.min(word), key.name)
        })
        .min()
        .filter(|(distance, known)| *distance <= known.len() / 3)
        .map(|(_, known)| known)
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, one) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, other) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(one != *other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Applies, changes};

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

        fn load(&self) -> Result<Loaded, Faults> {
            Sources::Folders(["usr/lib", "run", "etc"].map(|f| self.0.path().join(f)).into()).load()
        }

        fn faults(&self) -> Vec<String> {
            let root = format!("{}/", self.0.path().display());
            self.load().unwrap_err().lines().iter().map(|line| line.replace(&root, "")).collect()
        }
    }

    #[test]
    fn no_file_at_all_means_the_defaults() {
        let loaded = Tree::new(&[]).load().unwrap();
        assert_eq!(loaded.settings, Settings::default());
        assert!(loaded.files.is_empty() && loaded.origins.is_empty());
    }

    #[test]
    fn later_files_win_key_by_key() {
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
        assert_eq!(loaded.settings.limits.head, 9000);
        assert_eq!(loaded.settings.limits.body, Settings::default().limits.body);
        assert_eq!(loaded.settings.log.level, Settings::default().log.level);
        let origin = &loaded.origins["workers"];
        assert!(origin.path.ends_with("etc/pixeld/pixeld.toml.d/60-b.toml"));
        assert_eq!(origin.line, 2);
    }

    #[test]
    fn a_link_to_dev_null_masks_a_drop_in() {
        let tree = Tree::new(&[
            ("usr/lib/pixeld/pixeld.toml.d/50-a.toml", "workers = 3"),
            ("etc/pixeld/pixeld.toml", "workers = 2"),
        ]);
        let folder = tree.0.path().join("etc/pixeld/pixeld.toml.d");
        fs::create_dir(&folder).unwrap();
        std::os::unix::fs::symlink("/dev/null", folder.join("50-a.toml")).unwrap();
        assert_eq!(tree.load().unwrap().settings.workers.count(), 2);
    }

    #[test]
    fn each_folder_masks_the_weaker_ones_only() {
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
        assert_eq!(loaded.settings.limits.body, 1000, "and not /etc");
        assert_eq!(loaded.files.len(), 1);
    }

    #[test]
    fn an_empty_drop_in_takes_a_weaker_one_away_too() {
        let tree = Tree::new(&[
            ("usr/lib/pixeld/pixeld.toml.d/50-a.toml", "workers = 3"),
            ("etc/pixeld/pixeld.toml.d/50-a.toml", ""),
        ]);
        assert_eq!(tree.load().unwrap().settings, Settings::default());
    }

    #[test]
    fn the_strongest_main_file_hides_the_others_also_as_a_link_to_dev_null() {
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
        assert!(tree.faults()[0].starts_with("etc/pixeld/pixeld.toml: cannot be read: No such file"));
    }

    #[test]
    fn no_file_at_all_can_be_named_as_well() {
        assert_eq!(Sources::File("/dev/null".into()).load().unwrap().settings, Settings::default());
    }

    #[test]
    fn a_drop_in_may_be_a_link_and_what_cannot_be_read_is_told() {
        let tree = Tree::new(&[("elsewhere.toml", "workers = 3"), ("run/pixeld/pixeld.toml.d", "a file")]);
        let folder = tree.0.path().join("etc/pixeld/pixeld.toml.d");
        fs::create_dir_all(&folder).unwrap();
        std::os::unix::fs::symlink(tree.0.path().join("elsewhere.toml"), folder.join("a.toml")).unwrap();
        let faults = tree.faults();
        assert!(
            faults[0].starts_with("run/pixeld/pixeld.toml.d: cannot be read: Not a directory"),
            "{faults:?}"
        );
        fs::remove_file(tree.0.path().join("run/pixeld/pixeld.toml.d")).unwrap();
        assert_eq!(tree.load().unwrap().settings.workers.count(), 3);
        fs::remove_file(tree.0.path().join("elsewhere.toml")).unwrap();
        assert!(
            tree.faults()[0].starts_with("etc/pixeld/pixeld.toml.d/a.toml: cannot be read: No such file")
        );
    }

    #[test]
    fn each_socket_has_an_address_of_its_own() {
        let tree =
            Tree::new(&[("etc/pixeld/pixeld.toml", "[listen]\nadmin = \"unix:/s\"\nhttp = [\"unix:/s\"]")]);
        assert_eq!(
            tree.faults(),
            [
                "etc/pixeld/pixeld.toml:2: listen.admin: listen.http is the same address: each socket needs its own"
            ]
        );
    }

    #[test]
    fn every_fault_is_told_with_file_line_and_key() {
        let tree = Tree::new(&[
            (
                "etc/pixeld/pixeld.toml",
                "workers = 0\n\n[limits]\nbodi = 1\nbody = \"x\"\n[limit]\nhead = 1\n",
            ),
            ("etc/pixeld/pixeld.toml.d/a.toml", "timeouts.keep_alive = \"1s\"\n[nothing]\n"),
            ("etc/pixeld/pixeld.toml.d/b.toml", "workers = = 1"),
        ]);
        let faults = tree.faults();
        for (fault, start) in faults.iter().zip([
            "etc/pixeld/pixeld.toml:1: workers: 0 workers cannot be had",
            "etc/pixeld/pixeld.toml:4: limits.bodi: there is no such key; did you mean limits.body?",
            "etc/pixeld/pixeld.toml:5: limits.body: \"x\" is no size",
            "etc/pixeld/pixeld.toml:7: limit.head: there is no such key; did you mean limits.head?",
            "etc/pixeld/pixeld.toml.d/a.toml:1: timeouts.keep_alive: there is no such key; did you mean timeouts.keep-alive?",
            "etc/pixeld/pixeld.toml.d/a.toml:2: nothing: there is no such key",
            "etc/pixeld/pixeld.toml.d/b.toml:1: ",
        ]) {
            assert!(fault.starts_with(start), "{fault}\n{start}");
        }
        assert!(faults.len() >= 7, "{faults:#?}");
    }

    #[test]
    fn a_file_that_was_named_has_to_exist() {
        let tree = Tree::new(&[("some.toml", "workers = 1"), ("some.toml.d/a.toml", "workers = 7")]);
        let loaded = Sources::File(tree.0.path().join("some.toml")).load().unwrap();
        assert_eq!(loaded.settings.workers.count(), 7);
        let faults = Sources::File(tree.0.path().join("other.toml")).load().unwrap_err();
        assert!(faults.to_string().contains("other.toml: cannot be read"), "{faults}");
    }

    #[test]
    fn the_shipped_file_shows_every_key_at_its_default() {
        let shipped = include_str!("../../pixeld.toml");
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
    fn each_key_differs_by_itself() {
        let from = Settings::default();
        let tree =
            Tree::new(&[("etc/pixeld/pixeld.toml", "[limits]\nbody = 1000\n[log]\ntarget = \"stderr\"")]);
        let to = tree.load().unwrap().settings;
        let changed: Vec<_> = changes(&from, &to).iter().map(|key| (key.name, key.applies)).collect();
        assert_eq!(changed, [("limits.body", Applies::Live), ("log.target", Applies::AtRestart)]);
    }
}
