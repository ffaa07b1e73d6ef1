use super::{failure::Failure, render};
use crate::control::{Client, Reloaded};

/// `pixeldctl reload`
pub async fn run(client: &mut Client, json: bool) -> Result<(), Failure> {
    render::print(&client.reload().await?, json, show)
}

fn show(reloaded: &Reloaded) -> String {
    let mut text = match reloaded.changed.as_slice() {
        [] => "Nothing changed.\n".into(),
        changed => format!("{}\n", changed.join("\n")),
    };
    for key in &reloaded.needs_restart {
        text += &format!("{key} has changed too, and needs a restart\n");
    }
    text
}
