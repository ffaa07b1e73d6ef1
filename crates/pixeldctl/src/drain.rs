use super::{Options, args::Purpose, error::CommandErrors, fanout};

/// `pixeldctl drain`
pub async fn drain(options: &Options) -> Result<(), CommandErrors> {
    let replies = fanout::ask(options, Purpose::Change, async |connection| connection.drain().await).await;
    replies.print_each(options, |drained| {
        let already = if drained.already { "Drained already" } else { "Drained" };
        format!("{already}: requests are answered with 503 until `pixeldctl resume`.")
    })
}

/// `pixeldctl resume`
pub async fn resume(options: &Options) -> Result<(), CommandErrors> {
    let replies = fanout::ask(options, Purpose::Change, async |connection| connection.resume().await).await;
    replies.print_each(options, |resumed| {
        if resumed.already { "It was not drained.".into() } else { "Resumed: requests are answered.".into() }
    })
}
