use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Serves POST /pixel over sockets that systemd passes, or that the configuration names.
#[derive(Debug, Parser)]
#[command(
    name = "pixeld",
    version,
    max_term_width = 80,
    after_help = "Signals: SIGHUP reloads the configuration, SIGTERM and SIGINT finish requests and stop.\n\
                  See pixeld(8), pixeld.toml(5) and pixeldctl(1)."
)]
pub struct DaemonArgs {
    /// Read this file and FILE.d/*.toml instead of pixeld/pixeld.toml and pixeld/pixeld.toml.d/*.toml
    /// under /etc, /run and /usr/lib
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Say what is wrong with the configuration, if anything, and exit: 0 valid, 78 not
    #[arg(long)]
    pub check: bool,

    /// What to do about a socket that systemd did not pass
    #[arg(long, value_enum, value_name = "HOW", default_value_t = SocketMode::Bind)]
    pub sockets: SocketMode,
}

/// What to do about a socket that was not passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SocketMode {
    /// Open it where [listen] says
    Bind,
    /// Open none, and exit with 78 if the http or the control socket is missing
    Inherited,
}
