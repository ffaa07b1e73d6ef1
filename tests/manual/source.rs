//! What the programs are made of, as far as no program can be asked for it.

use std::{
    fs,
    path::{Path, PathBuf},
};

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below a folder of the checkout.
pub fn files(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let mut files = Vec::new();
    for path in entries.map(|entry| entry.unwrap().path()) {
        let inside = path.strip_prefix(root()).unwrap().to_str().unwrap();
        if path.is_dir() { files.extend(self::files(inside)) } else { files.push(path) }
    }
    files
}

/// The programs' text in these folders, without its tests.
pub fn code(folders: &[&str]) -> String {
    let is_program = |path: &PathBuf| path.extension().is_some_and(|end| end == "rs");
    let files = folders.iter().flat_map(|folder| files(folder)).filter(is_program);
    let texts = files.map(|path| {
        let text = fs::read_to_string(path).unwrap();
        text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned()
    });
    texts.collect()
}

/// The names that follow each of these words.
pub fn names_after<'t>(text: &'t str, word: &str) -> impl Iterator<Item = &'t str> {
    let rests = text.split(word).skip(1).collect::<Vec<_>>();
    rests.into_iter().map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap())
}
