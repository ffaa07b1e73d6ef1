use pixeld_control::ReloadReply;

use super::{args::Purpose, error::CommandErrors, fanout, options::Options};

/// `pixeldctl reload`
pub async fn run(options: &Options, dry_run: bool) -> Result<(), CommandErrors> {
    let replies = fanout::ask(options, Purpose::Change, async |connection| connection.reload(dry_run).await);
    replies.await.print_each(options, show)
}

fn show(reloaded: &ReloadReply) -> String {
    let lines: Vec<_> = reloaded
        .changes
        .iter()
        .map(|change| {
            let but = match (change.needs_restart, change.overridden) {
                (true, _) => " (only a restart applies it)",
                (false, true) => " (the runtime override stays in effect)",
                (false, false) => "",
            };
            format!("{}: {} -> {}{but}", change.key, change.from, change.to)
        })
        .collect();
    let text = match (lines.as_slice(), reloaded.applied) {
        ([], true) => "Nothing changed.".into(),
        ([], false) => "Nothing would change.".into(),
        (lines, true) => lines.join("\n"),
        (lines, false) => format!("{}\nNothing is changed yet: this was a dry run.", lines.join("\n")),
    };
    let warnings = reloaded.warnings.iter().map(|warning| format!("\nwarning: {warning}"));
    text + &warnings.collect::<String>()
}
