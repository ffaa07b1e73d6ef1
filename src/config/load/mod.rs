mod duplicate_key;
mod error;
mod read;
mod suggest;
mod syntax;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use nix::sys::stat::makedev;
use toml::de::{DeTable, DeValue};

pub use self::error::{ConfigError, ConfigErrors, Origin};
use self::{
    error::with_rest,
    read::{read, unreadable},
    suggest::closest_key,
    syntax::Syntax,
};
use super::{
    keys::{ConfigKey, KEYS},
    settings::Settings,
};
use crate::sanitize;

/// Files that are read, drop-ins and the main file.
const MAX_FILES: usize = 256;
/// Bytes of all files together.
const MAX_TOTAL: usize = 4 << 20;

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
    fn files(&self) -> (Vec<PathBuf>, ConfigErrors) {
        let (main, folders) = match self {
            Self::Folders(roots) => {
                let main = roots.iter().rev().map(|root| root.join("pixeld/pixeld.toml"));
                let main = main.into_iter().find(|path| is_present(path));
                (main, roots.iter().map(|root| root.join("pixeld/pixeld.toml.d")).collect())
            }
            Self::File(path) => {
                let mut folder = path.clone().into_os_string();
                folder.push(".d");
                (Some(path.clone()), vec![PathBuf::from(folder)])
            }
        };
        let (mut drop_ins, mut errors) = (BTreeMap::new(), ConfigErrors::default());
        for folder in folders {
            if let Err(error) = collect_drop_ins(&folder, &mut drop_ins)
                && error.kind() != io::ErrorKind::NotFound
            {
                errors.add(|| unreadable(&folder, &error));
            }
        }
        let main = main.filter(|path| !is_mask(path));
        (main.into_iter().chain(drop_ins.into_values()).collect(), errors)
    }

    /// Reads, merges and checks all files.
    ///
    /// # Errors
    /// The errors of all files, not only the first.
    pub fn load(&self) -> Result<Loaded, ConfigErrors> {
        self.load_with(|_| {})
    }

    /// As [`Self::load`], and calls `begin` with each file before it is opened.
    ///
    /// # Errors
    /// The errors of all files, not only the first.
    pub fn load_with(&self, begin: impl Fn(&Path)) -> Result<Loaded, ConfigErrors> {
        let (files, mut errors) = self.files();
        let mut loaded = Loaded {
            settings: Settings::default(),
            origins: BTreeMap::new(),
            files,
            warnings: ConfigErrors::default(),
        };
        let mut total = 0;
        for path in loaded.files.clone() {
            begin(&path);
            let text = match read(&path) {
                Ok(text) => text,
                Err(error) => {
                    errors.add(|| error);
                    continue;
                }
            };
            total += text.len();
            if total > MAX_TOTAL {
                let message = "this file and those before it are longer than 4 MiB together".into();
                errors.add(|| ConfigError { path, line: None, key: None, message });
                break;
            }
            File::new(&path, &text).apply(&mut loaded, &mut errors);
        }
        if errors.is_empty()
            && let Err(error) = loaded.ensure_distinct_addresses()
        {
            errors.add(|| error);
        }
        if errors.is_empty() { Ok(loaded) } else { Err(errors) }
    }
}

/// The line, counted from 1, of what follows this.
fn line_after(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte == b'\n').count() + 1
}

/// Whether there is something by this name, also if it is a link to nothing, or cannot be looked at: that
/// is reported when it is read, and nothing weaker takes its place.
fn is_present(path: &Path) -> bool {
    path.symlink_metadata().map_or_else(|error| error.kind() != io::ErrorKind::NotFound, |_| true)
}

/// Whether this is a link to /dev/null, however it is written, or that device mounted there: nothing, in
/// place of what is weaker.
fn is_mask(path: &Path) -> bool {
    let null = makedev(1, 3);
    let is_null = |meta: fs::Metadata| meta.file_type().is_char_device() && meta.rdev() == null;
    path.metadata().is_ok_and(is_null)
        || path.canonicalize().is_ok_and(|target| target == Path::new("/dev/null"))
}

/// Adds the drop-ins of a stronger folder: `*.toml`, not hidden. One that is a link to /dev/null takes
/// that of a weaker folder away.
fn collect_drop_ins(folder: &Path, drop_ins: &mut BTreeMap<OsString, PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
        let is_drop_in =
            path.extension() == Some("toml".as_ref()) && !name.as_encoded_bytes().starts_with(b".");
        if is_drop_in && is_mask(&path) {
            drop_ins.remove(&name);
        } else if is_drop_in {
            drop_ins.insert(name, path);
            if drop_ins.len() >= MAX_FILES {
                return Err(io::Error::other(format!("there are more than {} drop-in files", MAX_FILES - 1)));
            }
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
    /// Lines that a later version rejects.
    pub warnings: ConfigErrors,
}

impl Loaded {
    /// The files as a message names them, escaped; of many only the first, and the number of the others.
    pub fn file_names(&self) -> Vec<String> {
        with_rest(self.files.iter().map(|file| sanitize::path(file)), self.files.len())
    }

    /// Each socket needs an address of its own.
    fn ensure_distinct_addresses(&self) -> Result<(), ConfigError> {
        let listen = &self.settings.listen;
        let (key, other) = if listen.admin == listen.control {
            ("listen.admin", "listen.control")
        } else if listen.http.contains(&listen.control) {
            ("listen.control", "listen.http")
        } else if listen.http.contains(&listen.admin) {
            ("listen.admin", "listen.http")
        } else {
            return Ok(());
        };
        let Some(origin) = self.origins.get(key).or_else(|| self.origins.get(other)) else { return Ok(()) };
        let message = format!("{other} is the same address: each socket needs its own");
        Err(ConfigError {
            path: origin.path.clone(),
            line: Some(origin.line),
            key: Some(key.into()),
            message,
        })
    }
}

struct File<'a> {
    path: &'a Path,
    text: &'a str,
    /// Where lines end.
    line_ends: Vec<usize>,
}

/// Why an assignment failed; it is described only if it is among the first.
enum AssignError<'a> {
    Unknown { section: Option<&'a str>, key: &'a str },
    Value { key: &'static str, message: String },
    Twice { old: String, key: &'static str },
}

impl<'a> File<'a> {
    fn new(path: &'a Path, text: &'a str) -> Self {
        let line_ends =
            text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect();
        Self { path, text, line_ends }
    }

    /// Makes the assignments of this file, and adds its errors in the order of its lines.
    fn apply(&self, loaded: &mut Loaded, errors: &mut ConfigErrors) {
        let syntax = Syntax::check(self.text);
        if let Some(at) = syntax.too_deep {
            let message = "this is nested deeper than any key of pixeld";
            errors.add(|| self.error(at, None, message));
            return;
        }
        if syntax.total > ConfigErrors::MAX_LISTED {
            let listed = syntax.first.len();
            for (at, message) in syntax.first {
                errors.add(|| self.error(at, None, message));
            }
            errors.add_unlisted(syntax.total - listed);
            return;
        }
        let (document, syntax_errors) = DeTable::parse_recoverable(self.text);
        if !syntax_errors.is_empty() {
            // What was recovered from broken syntax would only give errors that are none of the file's.
            let mut reported_line = None;
            for error in &syntax_errors {
                let at = error.span().unwrap_or_default().start;
                if let Some(message) = self.confusable_character(at) {
                    // It gives several syntax errors in its line.
                    if reported_line.replace(self.line(at)) != Some(self.line(at)) {
                        errors.add(|| self.error(at, None, message));
                    }
                    continue;
                }
                errors.add(|| match duplicate_key::explain(self.text, document.get_ref(), error) {
                    Some((key, message)) => self.error(at, Some(key), message),
                    None => self.error(at, None, error.message()),
                });
            }
            return;
        }
        let mut failed = self.assign_all(document.get_ref(), loaded);
        failed.sort_by_key(|(at, _)| *at);
        for (at, error) in failed {
            errors.add(|| match error {
                AssignError::Unknown { section, key } => self.unknown(at, &dotted(section, key)),
                AssignError::Value { key, message } => self.error(at, Some(key.into()), message),
                AssignError::Twice { old, key } => {
                    let message = format!("{key} is set, too: remove {old}, its old name");
                    self.error(at, Some(old), message)
                }
            });
        }
    }

    fn assign_all<'d>(
        &self,
        document: &'d DeTable<'_>,
        loaded: &mut Loaded,
    ) -> Vec<(usize, AssignError<'d>)> {
        let mut failed = Vec::new();
        for (name, value) in document {
            let key: &str = name.get_ref();
            match value.get_ref() {
                DeValue::Table(section) if section.is_empty() && !is_section(key) => {
                    failed.push((name.span().start, AssignError::Unknown { section: None, key }));
                }
                DeValue::Table(entries) => {
                    for (name, value) in entries {
                        let (at, section) = (name.span().start, Some(key));
                        if let Some(renamed) = ConfigKey::find_old(section, name.get_ref())
                            && entries.keys().any(|other| {
                                ConfigKey::find(section, other.get_ref())
                                    .is_some_and(|key| key.name == renamed.name)
                            })
                        {
                            let old = dotted(section, name.get_ref());
                            failed.push((at, AssignError::Twice { old, key: renamed.name }));
                            continue;
                        }
                        let assigned = self.assign(section, name.get_ref(), at, value.get_ref(), loaded);
                        failed.extend(assigned.err().map(|error| (at, error)));
                    }
                }
                value => {
                    let at = name.span().start;
                    failed.extend(self.assign(None, key, at, value, loaded).err().map(|error| (at, error)));
                }
            }
        }
        failed
    }

    fn assign<'d>(
        &self,
        section: Option<&'d str>,
        key: &'d str,
        at: usize,
        value: &DeValue<'_>,
        loaded: &mut Loaded,
    ) -> Result<(), AssignError<'d>> {
        let old = ConfigKey::find_old(section, key);
        let known =
            old.or_else(|| ConfigKey::find(section, key)).ok_or(AssignError::Unknown { section, key })?;
        (known.set)(&mut loaded.settings, value)
            .map_err(|message| AssignError::Value { key: known.name, message })?;
        loaded.origins.insert(known.name, Origin { path: self.path.into(), line: self.line(at) });
        if old.is_some() {
            let message = format!("this is the old name of {}, which the next version rejects", known.name);
            loaded.warnings.add(|| self.error(at, Some(dotted(section, key)), message));
        }
        Ok(())
    }

    fn unknown(&self, at: usize, name: &str) -> ConfigError {
        if is_section(name) {
            return self.error(
                at,
                Some(name.into()),
                format!("this is a section: write [{name}] on a line of its own"),
            );
        }
        let header = self.text.lines().position(|line| line.trim_start().starts_with('[')).map(|nth| nth + 1);
        let hint = match (closest_key(name), header) {
            // Behind the header of a section, a line belongs to that section.
            (Some(known), Some(header)) if name.ends_with(&format!(".{known}")) && header < self.line(at) => {
                format!("; {known} belongs to no section: write this line above line {header}")
            }
            (Some(known), _) => format!("; did you mean {known}?"),
            (None, _) => String::new(),
        };
        self.error(at, Some(name.into()), format!("there is no such key{hint}"))
    }

    fn error(&self, at: usize, key: Option<String>, message: impl Into<String>) -> ConfigError {
        ConfigError { path: self.path.into(), line: Some(self.line(at)), key, message: message.into() }
    }

    /// A character in the line of a syntax error that looks like one of TOML's and is none.
    fn confusable_character(&self, at: usize) -> Option<&'static str> {
        /// Bytes of a line that is searched.
        const MAX_SEARCHED: usize = 1000;

        let line = self.line(at);
        let start = line.checked_sub(2).map_or(0, |before| self.line_ends[before] + 1);
        let end = self.line_ends.get(line - 1).copied().unwrap_or(self.text.len());
        let searched = &self.text.as_bytes()[start..end.min(start + MAX_SEARCHED)];
        let searched = searched.utf8_chunks().next().map_or("", |chunk| chunk.valid());
        searched.chars().find_map(|c| match c {
            '\u{2018}'..='\u{201f}' | '\u{ab}' | '\u{bb}' => {
                Some("this line has typographic quotes: write \"")
            }
            '\u{a0}' | '\u{2007}' | '\u{202f}' => Some("this line has a no-break space: write a space"),
            '\u{200b}'..='\u{200d}' | '\u{feff}' => {
                Some("this line has an invisible character: write it again")
            }
            '\u{2010}'..='\u{2015}' => Some("this line has a typographic dash: write -"),
            _ => None,
        })
    }

    fn line(&self, at: usize) -> usize {
        self.line_ends.partition_point(|end| *end < at) + 1
    }
}

fn dotted(section: Option<&str>, key: &str) -> String {
    section.map_or_else(|| key.into(), |section| format!("{section}.{key}"))
}

fn is_section(name: &str) -> bool {
    KEYS.iter().any(|key| key.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
}
