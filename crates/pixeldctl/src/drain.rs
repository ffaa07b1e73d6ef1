use pixeld_control::ControlClient;

use super::{args::Purpose, error::CommandErrors, fanout, options::Options};

/// `pixeldctl drain`
pub async fn drain(options: &Options) -> Result<(), CommandErrors> {
    let replies = fanout::ask(options, Purpose::Change, ControlClient::drain).await;
    replies.print_each(options, |drained| {
        let already = if drained.already { "Drained already" } else { "Drained" };
        format!("{already}: requests are answered with 503 until `pixeldctl resume`.")
    })
}

/// `pixeldctl resume`
pub async fn resume(options: &Options) -> Result<(), CommandErrors> {
    let replies = fanout::ask(options, Purpose::Change, ControlClient::resume).await;
    replies.print_each(options, |resumed| {
        if resumed.already { "It was not drained.".into() } else { "Resumed: requests are answered.".into() }
    })
}
