mod read;
mod similar;
#[cfg(test)]
mod tests;
mod twice;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt, fs, io,
    path::{Path, PathBuf},
};

use toml::de::{DeTable, DeValue};

use self::{
    read::{read, unreadable},
    similar::nearest,
};
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
                Err(fault) => faults.push(fault),
            }
        }
        if faults.is_empty() {
            faults.extend(loaded.contradiction());
        }
        if faults.is_empty() { Ok(loaded) } else { Err(Faults(faults)) }
    }
}

/// The line, counted from 1, of what follows this.
fn line_after(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte == b'\n').count() + 1
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
                let place = error.span().unwrap_or_default();
                match twice::explain(self.text, document.get_ref(), error) {
                    Some((key, message)) => self.fault(place.start, Some(key), message),
                    None => self.fault(place.start, None, error.message()),
                }
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
        line_after(&self.text.as_bytes()[..at.min(self.text.len())])
    }
}

fn is_section(name: &str) -> bool {
    KEYS.iter().any(|key| key.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
}
