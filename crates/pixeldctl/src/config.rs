use pixeld_control::{ConfigReply, ControlClient, Setting};

use super::{args::Purpose, error::CommandErrors, fanout, options::Options, render};

/// `pixeldctl config`
pub async fn run(options: &Options) -> Result<(), CommandErrors> {
    let replies = fanout::ask(options, Purpose::Read, ControlClient::config).await;
    replies.print_each(options, show)
}

fn show(settings: &ConfigReply) -> String {
    let mut rows = vec![["KEY", "VALUE", "FROM"].map(String::from).to_vec()];
    rows.extend(settings.settings.iter().map(|setting| {
        let origin = setting.origin.clone().unwrap_or_else(|| "default".into());
        vec![setting.key.clone(), setting.value.clone(), origin]
    }));
    let mut text = render::table(&rows);
    for Setting { key, override_value, overridden_by, .. } in &settings.settings {
        if let (Some(value), Some(by)) = (override_value, overridden_by) {
            text += &format!("\nruntime override of {key}: {value} {}", render::attribution(by));
        }
    }
    text
}
