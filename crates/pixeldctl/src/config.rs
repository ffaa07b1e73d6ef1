use pixeld_control::{ConfigReply, ControlClient, Setting};
use serde_json::{Value, json};

use super::{args::Purpose, error::CommandErrors, fanout, options::Options, render};

/// `pixeldctl config`
pub async fn run(options: &Options) -> Result<(), CommandErrors> {
    let replies = fanout::ask(options, Purpose::Read, ControlClient::config).await;
    if options.json {
        let typed = |reply: ConfigReply| {
            let settings: Vec<_> = reply.settings.iter().map(typed).collect();
            Ok(json!({ "settings": settings }))
        };
        return replies.map(typed).print_each(options, Value::to_string);
    }
    replies.print_each(options, show)
}

/// Returns a setting as JSON with typed values. The daemon sends them as TOML, and each of them is valid JSON too.
pub fn typed(setting: &Setting) -> Value {
    let mut object = serde_json::to_value(setting).unwrap_or_default();
    for field in ["value", "override"] {
        if let Some(value) = object[field].as_str().and_then(|text| serde_json::from_str(text).ok()) {
            object[field] = value;
        }
    }
    object
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
