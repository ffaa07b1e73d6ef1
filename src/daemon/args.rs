use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Serve POST /pixel over sockets that systemd passes or the configuration names
#[derive(Debug, Parser)]
#[command(
    name = "pixeld",
    version,
    max_term_width = 80,
    after_help = "Signals: SIGHUP reloads the configuration; SIGTERM and SIGINT stop after the requests in progress.\n\
                  See pixeld(8), pixeld.toml(5) and pixeldctl(1)."
)]
pub struct DaemonArgs {
    /// Read this file and FILE.d/*.toml instead of pixeld/pixeld.toml and pixeld/pixeld.toml.d/*.toml
    /// under /etc, /run and /usr/lib
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Check the configuration and exit: 0 if it is valid, 78 if not
    #[arg(long)]
    pub check: bool,

    /// Select what to do if systemd does not pass a socket
    #[arg(long, value_enum, value_name = "HOW", default_value_t = SocketMode::Bind)]
    pub sockets: SocketMode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SocketMode {
    /// Open it at its address in [listen]
    Bind,
    /// Open none; exit with 78 if the http or control socket is missing
    Inherited,
}
