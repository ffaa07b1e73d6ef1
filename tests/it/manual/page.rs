//! The pages of the manual, taken apart.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

pub const PIXELD: &str = include_str!("../../../man/pixeld.8");
pub const PIXELDCTL: &str = include_str!("../../../man/pixeldctl.1");
pub const PIXELD_TOML: &str = include_str!("../../../man/pixeld.toml.5");
pub const PIXELD_CONTROL: &str = include_str!("../../../man/pixeld-control.7");

/// Each page under the name by which others refer to it.
pub const PAGES: [(&str, &str); 4] = [
    ("pixeld 8", PIXELD),
    ("pixeldctl 1", PIXELDCTL),
    ("pixeld.toml 5", PIXELD_TOML),
    ("pixeld-control 7", PIXELD_CONTROL),
];

/// The checkout.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The part of a text below a line, up to the next one that begins with `end`.
pub fn part<'t>(text: &'t str, begin: &str, end: &str) -> &'t str {
    let begin = format!("\n{begin}\n");
    let start = text.find(&begin).unwrap_or_else(|| panic!("no {begin}")) + begin.len() - 1;
    let rest = &text[start..];
    rest.split_once(&format!("\n{end}")).map_or(rest, |(part, _)| part)
}

pub fn section(page: &'static str, title: &str) -> &'static str {
    part(page, &format!(".Sh {title}"), ".Sh ")
}

/// The items of a list whose heads have this macro: what follows it, and the text below.
pub fn items<'t>(text: &'t str, mark: &str) -> BTreeMap<&'t str, &'t str> {
    let begin = format!("\n.It {mark} ");
    let items = text.split(&begin).skip(1).map(|item| item.split_once('\n').unwrap_or((item, "")));
    items.collect()
}

/// Every word that has this macro.
pub fn marked<'t>(text: &'t str, mark: &str) -> BTreeSet<&'t str> {
    let words = text.lines().filter_map(|line| {
        let line = line.strip_prefix(".It ").unwrap_or(line.strip_prefix('.').unwrap_or(""));
        line.split_once(&format!("{mark} ")).map(|(_, words)| words.split(' '))
    });
    words.flatten().filter(|word| word.starts_with(char::is_alphabetic)).collect()
}

/// Literal displays of a page, as a reader sees them.
pub fn displays(page: &str) -> impl Iterator<Item = String> {
    let displays = page.split("\n.Bd -literal -offset indent\n").skip(1);
    let text = displays.map(|display| display.split_once("\n.Ed").expect("its end").0);
    let signs = [("aq", "'"), ("ga", "`"), ("ti", "~"), ("ha", "^"), ("bu", "\u{2022}")];
    text.map(move |text| {
        let text = signs
            .iter()
            .fold(text.to_owned(), |text, (name, sign)| text.replace(&format!("\\({name}"), sign));
        text.replace("\\e", "\\")
    })
}

fn is_macro(word: &str) -> bool {
    matches!(word.as_bytes(), [b'A'..=b'Z', b'a'..=b'z'])
}

/// Every word that begins with a letter and is set as this macro has it.
pub fn set_in<'t>(text: &'t str, mark: &str) -> BTreeSet<&'t str> {
    let mut words = BTreeSet::new();
    for line in text.lines().filter_map(|line| line.strip_prefix('.')) {
        let mut is_set = false;
        for word in line.split_whitespace() {
            if is_macro(word) {
                is_set = word == mark;
            } else if is_set && word.starts_with(char::is_alphabetic) {
                words.insert(word);
            }
        }
    }
    words
}

/// The text as a reader sees it, with one blank between words.
pub fn plain(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let Some(request) = line.strip_prefix('.') else { return line.to_owned() };
        let (outside, inside) = request.split_once("Pq ").unwrap_or((request, ""));
        let words = |text: &str| {
            let is_seen = |word: &&str| !is_macro(word) && ![",", "."].contains(word);
            text.split_whitespace().filter(is_seen).collect::<Vec<_>>().join(" ")
        };
        let (outside, inside) = (words(outside), words(inside));
        if inside.is_empty() { outside } else { format!("{outside} ({inside})") }
    });
    let text = lines.collect::<Vec<_>>().join(" ").replace("\\(dq", "\"");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
