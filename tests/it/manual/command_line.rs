//! pixeld(8) explains every option, and no others.

use clap::{Command, CommandFactory, Parser};
use pixeld::daemon::DaemonArgs;

use super::{
    command_lines::{assert_given, assert_options_are_explained, documented, flags, shown},
    page::{PIXELD, section},
};

fn pixeld() -> Command {
    let mut command = DaemonArgs::command();
    command.build();
    command
}

#[test]
fn every_option_of_pixeld_is_explained_and_no_other() {
    assert_options_are_explained(PIXELD, &pixeld());
}

#[test]
fn daemon_synopsis_has_every_option() {
    let lines: Vec<_> = section(PIXELD, "SYNOPSIS").lines().map(|line| line.trim_matches('.')).collect();
    let long = flags(pixeld().get_arguments()).into_iter().filter(|(name, _)| name.starts_with('-'));
    assert_eq!(documented(&lines).0, long.collect());
}

#[test]
fn shown_command_lines_of_pixeld_parse() {
    let is_option = |words: &[&str]| words.get(1).is_some_and(|word| word.starts_with("--"));
    let lines: Vec<_> = shown("pixeld").into_iter().filter(|(_, words)| is_option(words)).collect();
    for (name, words) in &lines {
        // A macro that continues in the same line.
        let words: Vec<_> = words.iter().copied().filter(|word| *word != "Ar").collect();
        assert_given(name, &words, DaemonArgs::try_parse_from(&words).err());
    }
    assert!(lines.len() > 3, "only {}", lines.len());
}
