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

pub use self::error::{ConfigErrors, Origin};
use self::{
    error::{ConfigError, with_rest},
    read::{read, unreadable},
    suggest::closest_key,
    syntax::Syntax,
};
use super::{
    keys::{ConfigKey, KEYS},
    settings::Settings,
};
use crate::sanitize;

/// Maximum number of files: the main file and its drop-ins.
const MAX_FILES: usize = 256;
/// Maximum size of all files together, in bytes.
const MAX_TOTAL: usize = 4 << 20;

/// Which files make up the configuration.
#[derive(Debug, Clone)]
pub enum Sources {
    /// `pixeld/pixeld.toml` and `pixeld/pixeld.toml.d/*.toml` below each of these folders, the last of which has
    /// priority. One main file is used. Of drop-ins with the same name one is used, and all are applied in the order
    /// of their names (UAPI configuration files specification).
    Folders(Vec<PathBuf>),
    /// This file, which has to exist, and the drop-ins in the folder of its name with `.d`.
    File(PathBuf),
}

impl Sources {
    pub fn system() -> Self {
        Self::Folders(["/usr/lib", "/run", "/etc"].map(PathBuf::from).into())
    }

    /// Returns the files that exist, those with priority last, and an error for each unreadable folder.
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

    /// Reads, merges and checks all files, and returns the errors of all.
    pub fn load(&self) -> Result<Loaded, ConfigErrors> {
        self.load_with(|_| {})
    }

    /// As [`Self::load`]; calls `begin` with each file before it is opened.
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
                let message = "the files up to this one are longer than 4 MiB together";
                errors.add(|| ConfigError::new(&path, None, None, message));
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

/// Whether a file with this path exists. A dangling link or a forbidden path counts: reading it fails, instead of
/// silently using a file of lower priority.
fn is_present(path: &Path) -> bool {
    path.symlink_metadata().map_or_else(|error| error.kind() != io::ErrorKind::NotFound, |_| true)
}

/// Whether this is a link to /dev/null or a mount of that device, which masks files of lower priority.
fn is_mask(path: &Path) -> bool {
    let null = makedev(1, 3);
    let is_null = |meta: fs::Metadata| meta.file_type().is_char_device() && meta.rdev() == null;
    path.metadata().is_ok_and(is_null)
        || path.canonicalize().is_ok_and(|target| target == Path::new("/dev/null"))
}

/// Adds the drop-ins of a folder with higher priority: `*.toml` that are not hidden. A link to /dev/null removes the
/// drop-in with its name.
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

/// A valid configuration, and the origin of each of its values.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub settings: Settings,
    /// The origin of each key that a file sets.
    pub origins: BTreeMap<&'static str, Origin>,
    /// The files in the order in which they were read.
    pub files: Vec<PathBuf>,
    /// Lines that a later version rejects.
    pub warnings: ConfigErrors,
}

impl Loaded {
    /// Returns the escaped names of the files for a message: the first ones, and the number of the others.
    pub fn file_names(&self) -> Vec<String> {
        with_rest(self.files.iter().map(|file| sanitize::path(file)), self.files.len())
    }

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
        let message = format!("same address as {other}: each socket needs its own");
        Err(ConfigError::new(&origin.path, Some(origin.line), Some(key), &message))
    }
}

struct File<'a> {
    path: &'a Path,
    text: &'a str,
    /// The place of each newline.
    line_ends: Vec<usize>,
}

/// An assignment of a file.
struct Entry<'d> {
    /// The place of the key.
    at: usize,
    /// The dotted name.
    name: String,
    /// The key with this name, and whether the name is an old one.
    key: Option<(&'static ConfigKey, bool)>,
    value: &'d DeValue<'d>,
}

impl<'d> Entry<'d> {
    fn new(at: usize, section: Option<&str>, name: &str, value: &'d DeValue<'d>) -> Self {
        let key = ConfigKey::find(section, name);
        let name = section.map_or_else(|| name.into(), |section| format!("{section}.{name}"));
        Self { at, name, key, value }
    }
}

/// Returns the assignments of a file in its order. An empty unknown section is one, so that it is reported.
fn entries<'d>(document: &'d DeTable<'d>) -> Vec<Entry<'d>> {
    let mut entries = Vec::new();
    for (name, value) in document {
        match value.get_ref() {
            DeValue::Table(table) if !table.is_empty() || is_section(name.get_ref()) => {
                let section = Some(name.get_ref().as_ref());
                entries.extend(table.iter().map(|(name, value)| {
                    Entry::new(name.span().start, section, name.get_ref(), value.get_ref())
                }));
            }
            value => entries.push(Entry::new(name.span().start, None, name.get_ref(), value)),
        }
    }
    entries.sort_by_key(|entry| entry.at);
    entries
}

impl<'a> File<'a> {
    fn new(path: &'a Path, text: &'a str) -> Self {
        let line_ends =
            text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect();
        Self { path, text, line_ends }
    }

    /// Applies the assignments of this file, and adds its errors in the order of its lines.
    fn apply(&self, loaded: &mut Loaded, errors: &mut ConfigErrors) {
        let syntax = Syntax::check(self.text);
        if let Some(at) = syntax.too_deep {
            return errors.add(|| self.error(at, None, "nested too deeply: no key has more than two parts"));
        }
        errors.add_unlisted(syntax.errors.total - syntax.errors.first.len());
        // A confusable character causes several errors in its line. Only one is reported.
        let mut confusing_line = None;
        let mut add = |at, describe: &dyn Fn() -> ConfigError| match self.confusable_character(at) {
            Some(_) if confusing_line.replace(self.line(at)) == Some(self.line(at)) => {}
            Some(message) => errors.add(|| self.error(at, None, message)),
            None => errors.add(describe),
        };
        for (at, message) in &syntax.errors.first {
            add(*at, &|| self.error(*at, None, message));
        }
        if syntax.errors.total > 0 {
            return;
        }
        let (document, faults) = DeTable::parse_recoverable(self.text);
        let document = document.get_ref();
        for error in &faults {
            let at = error.span().unwrap_or_default().start;
            let duplicate = || syntax.duplicate(at).filter(|_| error.message() == "duplicate key");
            add(at, &|| match duplicate() {
                Some((key, first, is_section)) => {
                    let first = self.line(first);
                    let message = if is_section {
                        format!("this section already begins in line {first}: write its keys there")
                    } else {
                        format!("already set in line {first}: keep one of them")
                    };
                    self.error(at, Some(&key), &message)
                }
                None => self.error(at, None, error.message()),
            });
        }
        if faults.is_empty() {
            let entries = entries(document);
            for entry in &entries {
                self.assign(entry, &entries, loaded, errors);
            }
        }
    }

    fn assign(&self, entry: &Entry<'_>, all: &[Entry<'_>], loaded: &mut Loaded, errors: &mut ConfigErrors) {
        let (at, name) = (entry.at, &entry.name);
        let Some((known, is_old)) = entry.key else {
            return errors.add(|| self.unknown(at, name));
        };
        if is_old {
            let key = known.name;
            if all.iter().any(|other| other.name == key) {
                let message = format!("deprecated name of {key}, which this file sets too: remove this line");
                return errors.add(|| self.error(at, Some(name), &message));
            }
            let message = format!("{name} is deprecated: rename it to {key} (pixeld 0.3 rejects {name})");
            loaded.warnings.add(|| self.error(at, None, &message));
        }
        match (known.set)(&mut loaded.settings, entry.value) {
            Ok(()) => {
                let origin = Origin { path: self.path.into(), line: self.line(at) };
                loaded.origins.insert(known.name, origin);
            }
            Err(message) => errors.add(|| self.error(at, Some(name), &message)),
        }
    }

    fn unknown(&self, at: usize, name: &str) -> ConfigError {
        if is_section(name) {
            let message = format!("this is a section: write [{name}] on a line of its own");
            return self.error(at, Some(name), &message);
        }
        let header = self.text.lines().position(|line| line.trim_start().starts_with('[')).map(|nth| nth + 1);
        let hint = match (closest_key(name), header) {
            // A line after the header of a section belongs to that section.
            (Some(known), Some(header)) if name.ends_with(&format!(".{known}")) && header < self.line(at) => {
                let line = self.line(at);
                format!(
                    " (`{known}` belongs outside all sections: move line {line} above line {header}, where the \
                     first section begins)"
                )
            }
            (Some(known), _) => format!(" (did you mean {known}?)"),
            (None, _) => String::new(),
        };
        self.error(at, Some(name), &format!("unknown key{hint}"))
    }

    fn error(&self, at: usize, key: Option<&str>, message: &str) -> ConfigError {
        ConfigError::new(self.path, Some(self.line(at)), key, message)
    }

    /// Explains a character in the line of a syntax error that only looks like one of TOML's.
    fn confusable_character(&self, at: usize) -> Option<&'static str> {
        /// Maximum number of bytes that are searched.
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
                Some("this line has an invisible character: retype the line")
            }
            '\u{2010}'..='\u{2015}' => Some("this line has a typographic dash: write -"),
            _ => None,
        })
    }

    fn line(&self, at: usize) -> usize {
        self.line_ends.partition_point(|end| *end < at) + 1
    }
}

fn is_section(name: &str) -> bool {
    KEYS.iter().any(|key| key.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
}
