//! pixeldctl(1) explains every command, option and exit status, and no others.

use std::collections::{BTreeMap, BTreeSet};

use clap::{Arg, Command, CommandFactory, Parser};
use pixeldctl::CtlArgs;

use crate::{
    command_lines::{
        assert_exits_are_explained, assert_given, assert_options_are_explained, assert_values_are_explained,
        documented, flags, heads, shown,
    },
    page::{PAGES, PIXELD, PIXELDCTL, section, set_in},
};

fn pixeldctl() -> Command {
    let mut command = CtlArgs::command();
    command.build();
    command
}

/// The arguments that a command does not share with all others.
fn own(command: &Command) -> impl Iterator<Item = &Arg> {
    let shared = |arg: &&Arg| arg.is_global_set() || ["help", "version"].contains(&arg.get_id().as_str());
    command.get_arguments().filter(move |arg| !shared(arg))
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
        let (documented_flags, values) = documented(&heads);
        assert_eq!(documented_flags, flags(own(command)), "{name}");
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
fn every_option_of_pixeldctl_is_explained_and_no_other() {
    assert_options_are_explained(PIXELDCTL, &pixeldctl());
}

#[test]
fn named_options_and_commands_exist() {
    let ctl = pixeldctl();
    let mut known: BTreeSet<String> = flags(ctl.get_subcommands().flat_map(own)).into_keys().collect();
    known.extend(flags(ctl.get_arguments()).into_keys());
    // Those of pixeld, which a test of its own compares with the program.
    known.extend(documented(&heads(section(PIXELD, "OPTIONS"))).0.into_keys());
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

#[test]
fn shown_command_lines_of_pixeldctl_parse() {
    let lines = shown("pixeldctl");
    for (name, words) in &lines {
        assert_given(name, words, CtlArgs::try_parse_from(words).err());
    }
    assert!(lines.len() > 50, "only {}", lines.len());
}

#[test]
fn every_exit_status_of_pixeldctl_is_explained() {
    assert_exits_are_explained(PIXELDCTL, pixeldctl::EXITS);
}
