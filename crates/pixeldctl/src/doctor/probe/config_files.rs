use pixeld_control::exit::Exit;

use crate::doctor::{
    finding::USE_SUDO,
    host_facts::{Host, Probe, Unavailable},
};

/// Checks the files as the user of the unit; it comes with the packages and `make install`.
pub const CHECKER: &str = "/usr/libexec/pixeld/check-config";

/// Returns the faults that a daemon would find that does not run.
pub async fn check(host: &Host) -> Probe<Vec<String>> {
    let printed = host.run(CHECKER, &[]).await?;
    let mut lines = printed.stderr.lines().map(Into::into);
    match printed.exit {
        Some(0) => Ok(Vec::new()),
        code if code == Some(Exit::Config as i32) => Ok(lines.collect()),
        code if code == Some(Exit::NoPerm as i32) => {
            Err(Unavailable(format!("only root can check files as the user of pixeld: {USE_SUDO}")))
        }
        _ => Err(Unavailable(lines.next().unwrap_or_else(|| format!("{CHECKER} fails")))),
    }
}
