//! Errors of configuration files: where they are, and how many of them are listed.

use std::{fmt, path::PathBuf};

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

/// An error in a configuration file, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    pub path: PathBuf,
    /// The line, counted from 1, if the error has one.
    pub line: Option<usize>,
    /// The dotted key, if it is known.
    pub key: Option<String>,
    /// The error, and the value to write instead.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", sanitize::path(&self.path))?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        if let Some(key) = &self.key {
            write!(f, " {}:", sanitize::name(key))?;
        }
        write!(f, " {}", sanitize::escape(&self.message))
    }
}

/// Returns the line, counted from 1, of the byte that follows this text.
pub(super) fn line_after(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte == b'\n').count() + 1
}

/// The first errors, in the order of the files, and the number of all.
#[derive(Debug, Clone, Default, thiserror::Error)]
pub struct ConfigErrors {
    listed: Vec<ConfigError>,
    total: usize,
}

impl ConfigErrors {
    /// Maximum number of listed errors. They fit into a log entry and into a reply.
    pub const MAX_LISTED: usize = 20;

    /// Counts an error, and calls `error` only if it is among the first.
    pub(super) fn add(&mut self, error: impl FnOnce() -> ConfigError) {
        if self.listed.len() < Self::MAX_LISTED {
            self.listed.push(error());
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
        with_rest(self.listed.iter().map(ToString::to_string), self.total)
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
