use clap::ValueEnum;
use pixeld_control::{CallError, ControlClient, Setting};
use serde_json::Value;

use super::{
    args::{LogLevel, Purpose},
    config,
    error::CommandErrors,
    fanout,
    options::Options,
    render,
};

/// `pixeldctl log-level`
pub async fn show(options: &Options) -> Result<(), CommandErrors> {
    let replies = fanout::ask(options, Purpose::Read, query).await;
    if options.json {
        return replies.map(|level| Ok(config::typed(&level))).print_each(options, Value::to_string);
    }
    replies.print_each(options, show_setting)
}

async fn query(client: &mut ControlClient) -> Result<Setting, CallError> {
    let settings = client.config().await?.settings;
    let level = settings.into_iter().find(|setting| setting.key == "log.level");
    level.ok_or_else(|| CallError::Protocol("the configuration lacks log.level".into()))
}

fn show_setting(level: &Setting) -> String {
    match (&level.override_value, &level.overridden_by) {
        (Some(set), Some(by)) => {
            let (now, configured) = (word(set), word(&level.value));
            format!("{now}, configured {configured}\nruntime override {}", render::attribution(by))
        }
        _ => word(&level.value).into(),
    }
}

/// Removes the quotes of a TOML string.
fn word(value: &str) -> &str {
    value.trim_matches('"')
}

/// `pixeldctl log-level LEVEL`
pub async fn set(options: &Options, level: LogLevel) -> Result<(), CommandErrors> {
    let value = level.to_possible_value();
    let name = value.as_ref().map(clap::builder::PossibleValue::get_name);
    let name = name.filter(|_| level != LogLevel::Auto);
    let replies =
        fanout::ask(options, Purpose::Change, async |connection| connection.set_log_level(name).await);
    replies.await.print_each(options, |set| {
        let already = if set.from == set.to { ", as before" } else { "" };
        format!("log level: {} -> {}{already}", set.from, set.to)
    })
}
