use std::path::Path;

use pixeld_control::exit::Exit;

use crate::doctor::{
    finding::USE_SUDO,
    host_facts::{Host, Probe, Unavailable},
};

/// Returns the program that checks the files as the user of the unit: a package's, or that of `make install`.
pub fn checker() -> &'static str {
    CHECKERS.into_iter().find(|path| Path::new(path).exists()).unwrap_or(CHECKERS[0])
}

const CHECKERS: [&str; 2] = ["/usr/libexec/pixeld/check-config", "/usr/local/libexec/pixeld/check-config"];

/// Returns the faults that a stopped daemon would find at its start.
pub async fn check(host: &Host) -> Probe<Vec<String>> {
    let checker = checker();
    let printed = host.run(checker, &[]).await?;
    let mut lines = printed.stderr.lines().map(Into::into);
    match printed.exit {
        Some(0) => Ok(Vec::new()),
        code if code == Some(Exit::Config as i32) => Ok(lines.collect()),
        code if code == Some(Exit::NoPerm as i32) => {
            Err(Unavailable(format!("only root can check files as the user of pixeld: {USE_SUDO}")))
        }
        _ => Err(Unavailable(lines.next().unwrap_or_else(|| format!("{checker} fails")))),
    }
}
