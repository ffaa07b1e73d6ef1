//! Errors of configuration files: where they are, and how many of them are listed.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use crate::sanitize;

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub path: PathBuf,
    /// The line, counted from 1.
    pub line: usize,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", sanitize::path(&self.path), self.line)
    }
}

/// The line of an error in a configuration file: its place, the error, and the value to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ConfigError(pub String);

impl ConfigError {
    /// The line is counted from 1, if the error has one. The dotted key is given if it is known.
    pub fn new(path: &Path, line: Option<usize>, key: Option<&str>, message: &str) -> Self {
        let line = line.map_or_else(String::new, |line| format!("{line}:"));
        let key = key.map_or_else(String::new, |key| format!(" {}:", sanitize::name(key)));
        Self(format!("{}:{line}{key} {}", sanitize::path(path), sanitize::escape(message)))
    }
}

/// Returns the line, counted from 1, of the byte that follows this text.
pub(super) fn line_after(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte == b'\n').count() + 1
}

/// The first errors, in the order of the files, and the number of all.
#[derive(Debug, Clone, Default, thiserror::Error)]
pub struct ConfigErrors {
    listed: Vec<String>,
    total: usize,
}

impl ConfigErrors {
    /// Maximum number of listed errors. They fit into a log entry and into a reply.
    pub const MAX_LISTED: usize = 20;

    /// Counts an error, and calls `error` only if it is among the first.
    pub(super) fn add(&mut self, error: impl FnOnce() -> ConfigError) {
        if self.listed.len() < Self::MAX_LISTED {
            self.listed.push(error().0);
        }
        self.total += 1;
    }

    /// Counts errors without their description.
    pub(super) fn add_unlisted(&mut self, number: usize) {
        self.total += number;
    }

    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Returns a line for each listed error, and one with the number of the others.
    pub fn lines(&self) -> Vec<String> {
        with_rest(self.listed.iter().cloned(), self.total)
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().join("\n"))
    }
}

/// Returns the first lines, and one with the number of the others.
pub(super) fn with_rest(lines: impl Iterator<Item = String>, total: usize) -> Vec<String> {
    let mut lines: Vec<_> = lines.take(ConfigErrors::MAX_LISTED).collect();
    if lines.len() < total {
        lines.push(format!("and {} more", total - lines.len()));
    }
    lines
}
