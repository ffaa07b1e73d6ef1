//! Compares command lines of the manual with those that clap parses.

use std::collections::{BTreeMap, BTreeSet};

use clap::{Arg, Command, error::ErrorKind};
use pixeld_control::exit::Exit;

use super::page::{PAGES, plain, section, set_in};

/// The options that a command does not share with all others: each spelling as `Fl` has it, with the
/// name of its value.
pub fn flags<'a>(args: impl Iterator<Item = &'a Arg>) -> BTreeMap<String, Option<String>> {
    let options = args.filter(|arg| !arg.is_positional());
    let spelled = options.flat_map(|arg| {
        let value = arg.get_value_names().filter(|_| arg.get_action().takes_values());
        let value = value.map(|names| names[0].to_string());
        let long = arg.get_long().map(|long| (format!("-{long}"), value));
        long.into_iter().chain(arg.get_short().map(|short| (short.into(), None)))
    });
    spelled.collect()
}

/// Options that the heads of a list document, and the names of other values.
pub fn documented(heads: &[&str]) -> (BTreeMap<String, Option<String>>, BTreeSet<String>) {
    let (mut flags, mut values) = (BTreeMap::new(), BTreeSet::new());
    for head in heads {
        let noise = ["Ns", "=", ",", "|", "Oo", "Oc", "Op", "Li"];
        let words: Vec<_> = head.split_whitespace().filter(|word| !noise.contains(word)).collect();
        let mut flag: Option<&str> = None;
        for pair in words.windows(2) {
            match pair {
                ["Fl", name] => {
                    flags.insert((*name).into(), None);
                    flag = Some(name);
                }
                ["Ar", value] => match flag.take() {
                    Some(flag) => drop(flags.insert(flag.into(), Some((*value).into()))),
                    None => drop(values.insert((*value).into())),
                },
                ["Cm", _] => flag = None,
                _ => {}
            }
        }
    }
    (flags, values)
}

pub fn heads(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix(".It ")).collect()
}

/// Asserts that a text names the possible values of an argument, and its default.
pub fn assert_values_are_explained(arg: &Arg, text: &str) {
    let seen = plain(text);
    for value in arg.get_possible_values().iter().filter(|_| arg.get_action().takes_values()) {
        assert!(set_in(text, "Cm").contains(value.get_name()), "{} of {arg}", value.get_name());
    }
    for value in arg.get_default_values().iter().filter(|_| arg.get_action().takes_values()) {
        let value = value.to_str().unwrap();
        let item =
            text.split(&format!("\n.It Cm {value}\n")).nth(1).and_then(|rest| rest.split("\n.It").next());
        let is_stated = seen.contains(&format!("{value} (the default)"))
            || item.is_some_and(|item| item.contains("This is the default."));
        assert!(is_stated, "{arg}: {value} is not stated as the default");
    }
}

/// Asserts that a page documents all options of a program, and no others.
pub fn assert_options_are_explained(page: &'static str, command: &Command) {
    let text = section(page, "OPTIONS");
    assert_eq!(documented(&heads(text)).0, flags(command.get_arguments()), "{}", command.get_name());
    for arg in command.get_arguments() {
        let long = format!("Fl -{}", arg.get_long().unwrap());
        let item = text.split("\n.It Fl ").find(|item| format!("Fl {item}").contains(&long)).unwrap();
        assert_values_are_explained(arg, item);
    }
}

/// The command lines for this program that a text shows, each as its words.
fn shown_in<'t>(text: &'t str, program: &str) -> Vec<Vec<&'t str>> {
    let is_begin = |before: &str| {
        let before = before.rsplit('\n').next().unwrap();
        ["", "$ ", "# ", "sudo ", ".Ql ", "`", "; ", "&& "].iter().any(|begin| {
            before.ends_with(begin) && (!begin.is_empty() || before.trim().is_empty() && before.len() == 4)
        })
    };
    let named = format!("{program} ");
    let places = text.match_indices(&named).filter(|(at, _)| is_begin(&text[..*at]));
    let lines = places.map(|(at, _)| text[at..].lines().next().unwrap());
    let ends = ['`', ';', '|', '>', '#', '&', ')'];
    let lines = lines.map(|line| {
        line.split("  ").next().unwrap().split(ends).next().unwrap().trim_end_matches([' ', '.', ','])
    });
    let commands = lines.map(|line| line.split_whitespace().collect());
    // Names the option only.
    commands.filter(|words: &Vec<_>| words != &[program, "-H"]).collect()
}

/// The command lines for this program that pages, documents and files show, each as its words, with where it is
/// shown.
pub fn shown(program: &str) -> Vec<(&'static str, Vec<&'static str>)> {
    let mut texts: Vec<_> = PAGES.into();
    texts.extend([
        ("README.md", include_str!("../../../README.md")),
        ("deploy/README.md", include_str!("../../../deploy/README.md")),
        ("pixeld.toml", include_str!("../../../pixeld.toml")),
        ("pixeld.catalog", include_str!("../../../systemd/pixeld.catalog")),
    ]);
    let lines = |(name, text)| shown_in(text, program).into_iter().map(move |words| (name, words));
    texts.into_iter().flat_map(lines).collect()
}

/// Asserts that a command line is valid: parsed, or a request for help or the version.
pub fn assert_given(name: &str, words: &[&str], error: Option<clap::Error>) {
    let is_asked = |kind| [ErrorKind::DisplayHelp, ErrorKind::DisplayVersion].contains(&kind);
    assert!(error.is_none_or(|error| is_asked(error.kind())), "{name}: {words:?}");
}

/// Heading of a status in a page.
fn head(exit: Exit) -> String {
    match exit {
        Exit::Ok | Exit::Unwell => format!("{}", exit as u8),
        _ => format!("{} Pq EX_{}", exit as u8, format!("{exit:?}").to_uppercase()),
    }
}

/// Asserts that a page documents all exit statuses of a program, and no others.
pub fn assert_exits_are_explained(page: &'static str, exits: &[Exit]) {
    let explained = section(page, "EXIT STATUS").lines().filter_map(|line| line.strip_prefix(".It "));
    let explained: BTreeSet<_> = explained.map(String::from).collect();
    assert_eq!(explained, exits.iter().copied().map(head).collect());
}
