use super::{Options, failure::Failures};

/// `pixeldctl stats --prometheus`
pub async fn run(_: &Options) -> Result<(), Failures> {
    todo!()
}
