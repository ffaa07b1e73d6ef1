//! pixeld(8) and pixeldctl(1) explain every command and option, and no others.

use std::collections::{BTreeMap, BTreeSet};

use clap::{Arg, Command, CommandFactory, Parser, error::ErrorKind};

use crate::page::{PAGES, PIXELD, PIXELDCTL, plain, section, set_in};

fn built(mut command: Command) -> Command {
    command.build();
    command
}

fn pixeld() -> Command {
    built(pixeld::daemon::DaemonArgs::command())
}

fn pixeldctl() -> Command {
    built(pixeld::ctl::CtlArgs::command())
}

/// The options that a command does not share with all others: each spelling as `Fl` has it, with the
/// name of its value.
fn flags<'a>(args: impl Iterator<Item = &'a Arg>) -> BTreeMap<String, Option<String>> {
    let options = args.filter(|arg| !arg.is_positional());
    let spelled = options.flat_map(|arg| {
        let value = arg.get_value_names().filter(|_| arg.get_action().takes_values());
        let value = value.map(|names| names[0].to_string());
        let long = arg.get_long().map(|long| (format!("-{long}"), value));
        long.into_iter().chain(arg.get_short().map(|short| (short.into(), None)))
    });
    spelled.collect()
}

fn own(command: &Command) -> impl Iterator<Item = &Arg> {
    let shared = |arg: &&Arg| arg.is_global_set() || ["help", "version"].contains(&arg.get_id().as_str());
    command.get_arguments().filter(move |arg| !shared(arg))
}

/// What the heads of a list say about options; and the names of the other values.
fn said(heads: &[&str]) -> (BTreeMap<String, Option<String>>, BTreeSet<String>) {
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

fn heads(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix(".It ")).collect()
}

/// The possible values of an argument and the one that it has by default stand in its text.
fn assert_values_are_explained(arg: &Arg, text: &str) {
    let seen = plain(text);
    for value in arg.get_possible_values().iter().filter(|_| arg.get_action().takes_values()) {
        assert!(set_in(text, "Cm").contains(value.get_name()), "{} of {arg}", value.get_name());
    }
    for value in arg.get_default_values().iter().filter(|_| arg.get_action().takes_values()) {
        let value = value.to_str().unwrap();
        let item =
            text.split(&format!("\n.It Cm {value}\n")).nth(1).and_then(|rest| rest.split("\n.It").next());
        let is_told = seen.contains(&format!("{value} (the default)"))
            || item.is_some_and(|item| item.contains("This is the default."));
        assert!(is_told, "{arg}: {value} is not said to be the default");
    }
}

#[test]
fn every_command_is_explained_and_no_other() {
    let mut explained: BTreeMap<&str, String> = BTreeMap::new();
    for text in section(PIXELDCTL, "COMMANDS").split("\n.It Cm ").skip(1) {
        let name = text.split_whitespace().next().unwrap();
        *explained.entry(name).or_default() += &format!(".It Cm {text}\n");
    }
    for command in pixeldctl().get_subcommands() {
        let name = command.get_name();
        let text = explained.remove(name).unwrap_or_else(|| panic!("{name} is not explained"));
        let heads: Vec<_> = heads(&text)
            .into_iter()
            .filter(|head| head.starts_with("Fl ") || head.starts_with(&format!("Cm {name}")))
            .collect();
        let (flags_said, values) = said(&heads);
        assert_eq!(flags_said, flags(own(command)), "{name}");
        if name == "help" {
            continue; // clap's own
        }
        let positionals: Vec<_> = command.get_positionals().collect();
        let by_name = |arg: &&&Arg| values.contains(&arg.get_value_names().unwrap()[0].to_string());
        assert_eq!(positionals.iter().filter(by_name).count(), values.len(), "{name}: {values:?}");
        for arg in positionals.iter().filter(|arg| !by_name(arg)) {
            // Named by its values instead.
            let all = heads.join("\n").replace(" | ", " ");
            let every = arg.get_possible_values();
            assert!(!every.is_empty() && every.iter().all(|value| all.contains(value.get_name())), "{arg}");
        }
        own(command).chain(positionals).for_each(|arg| assert_values_are_explained(arg, &text));
    }
    assert!(explained.is_empty(), "{:?} do not exist", explained.keys());
}

#[test]
fn every_option_is_explained_and_no_other() {
    for (page, command) in [(PIXELD, pixeld()), (PIXELDCTL, pixeldctl())] {
        let text = section(page, "OPTIONS");
        assert_eq!(said(&heads(text)).0, flags(command.get_arguments()), "{}", command.get_name());
        for arg in command.get_arguments() {
            let long = format!("Fl -{}", arg.get_long().unwrap());
            let item = text.split("\n.It Fl ").find(|item| format!("Fl {item}").contains(&long)).unwrap();
            assert_values_are_explained(arg, item);
        }
    }
}

#[test]
fn daemon_synopsis_has_every_option() {
    let lines: Vec<_> = section(PIXELD, "SYNOPSIS").lines().map(|line| line.trim_matches('.')).collect();
    let long = flags(pixeld().get_arguments()).into_iter().filter(|(name, _)| name.starts_with('-'));
    assert_eq!(said(&lines).0, long.collect());
}

#[test]
fn named_options_and_commands_exist() {
    let (daemon, ctl) = (pixeld(), pixeldctl());
    let mut known: BTreeSet<String> = flags(ctl.get_subcommands().flat_map(own)).into_keys().collect();
    for command in [&daemon, &ctl] {
        known.extend(flags(command.get_arguments()).into_keys());
    }
    let mut words: BTreeSet<String> = ctl.get_subcommands().map(|sub| sub.get_name().into()).collect();
    for arg in ctl.get_subcommands().flat_map(Command::get_arguments) {
        words.extend(arg.get_possible_values().iter().map(|value| value.get_name().into()));
    }
    for (name, page) in PAGES {
        let named = page.lines().flat_map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            let after_fl = words.windows(2).filter(|pair| pair[0].trim_start_matches('.') == "Fl");
            after_fl.map(|pair| pair[1].to_owned()).collect::<Vec<_>>()
        });
        let unknown: Vec<_> = named.filter(|flag| !known.contains(flag)).collect();
        assert!(unknown.is_empty(), "{name}: {unknown:?}");
    }
    words.insert("auto".into());
    let unknown: Vec<_> = set_in(PIXELDCTL, "Cm").into_iter().filter(|word| !words.contains(*word)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

/// The command lines for this program that a text shows, each as its words.
fn shown<'t>(text: &'t str, program: &str) -> Vec<Vec<&'t str>> {
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
    // Where only the option is named.
    commands.filter(|words: &Vec<_>| words != &[program, "-H"]).collect()
}

#[test]
fn shown_command_lines_parse() {
    let mut texts: Vec<_> = PAGES.into();
    texts.extend([
        ("README.md", include_str!("../../README.md")),
        ("deploy/README.md", include_str!("../../deploy/README.md")),
        ("pixeld.toml", include_str!("../../pixeld.toml")),
        ("pixeld.catalog", include_str!("../../systemd/pixeld.catalog")),
    ]);
    let mut count = 0;
    for (name, text) in texts {
        for words in shown(text, "pixeldctl") {
            count += 1;
            assert_given(name, &words, pixeld::ctl::CtlArgs::try_parse_from(&words).err());
        }
        for words in shown(text, "pixeld")
            .into_iter()
            .filter(|words| words.get(1).is_some_and(|word| word.starts_with("--")))
        {
            // A macro that goes on in the same line.
            let words: Vec<_> = words.into_iter().filter(|word| *word != "Ar").collect();
            count += 1;
            assert_given(name, &words, pixeld::daemon::DaemonArgs::try_parse_from(&words).err());
        }
    }
    assert!(count > 60, "only {count}");
}

fn assert_given(name: &str, words: &[&str], error: Option<clap::Error>) {
    let is_asked = |kind| [ErrorKind::DisplayHelp, ErrorKind::DisplayVersion].contains(&kind);
    assert!(error.is_none_or(|error| is_asked(error.kind())), "{name}: {words:?}");
}
