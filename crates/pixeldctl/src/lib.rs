//! The commands of pixeldctl, a file each: they query daemons on this host or on others, and print the replies. The
//! library exists for tests and is not a public interface.

#![deny(clippy::disallowed_methods)]

mod args;
mod bridge;
mod config;
mod control_connection;
mod doctor;
mod drain;
mod error;
mod events;
mod fanout;
mod host_target;
mod log_level;
mod options;
mod prometheus;
mod reload;
mod render;
mod repeat;
mod service_state;
mod socket_path;
mod ssh;
mod stats;
mod stats_format;
mod status;
mod stdout_closed;
mod top;
mod version;
mod workers;

use clap::{CommandFactory, Parser};
use nix::sys::signal::Signal;
use pixeld_control::{exit::Exit, sys};
use tokio::runtime;

pub use args::CtlArgs;

use self::{
    args::CtlCommand,
    error::{CommandError, CommandErrors},
    options::Options,
};

/// The exit codes of pixeldctl.
pub const EXITS: &[Exit] = &[
    Exit::Ok,
    Exit::Unwell,
    Exit::Usage,
    Exit::DataErr,
    Exit::Unavailable,
    Exit::OsErr,
    Exit::IoErr,
    Exit::TempFail,
    Exit::Protocol,
    Exit::NoPerm,
    Exit::Config,
];

/// Runs the command of the command line; returns the exit code.
pub fn main() -> Exit {
    // The failed write is reported instead.
    sys::ignore_signals(&[Signal::SIGXFSZ]);
    render::choose_colours();
    let args = match CtlArgs::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let printed = error.print().and_then(|()| sys::ensure_stdout_was_open());
            return Exit::after_usage("pixeldctl", printed, error.use_stderr());
        }
    };
    let runtime = match runtime::Builder::new_current_thread().enable_io().enable_time().build() {
        Ok(runtime) => runtime,
        Err(error) => return CommandError::Os(error).report(),
    };
    let done = runtime.block_on(run(args));
    // A thread that reads stdin may block forever.
    runtime.shutdown_background();
    match done {
        Ok(exit) => exit,
        Err(errors) => errors.report(),
    }
}

async fn run(args: CtlArgs) -> Result<Exit, CommandErrors> {
    let options = &Options::new(&args);
    match args.command {
        CtlCommand::Status => status::run(options).await,
        CtlCommand::Stats { prometheus: true, output, if_active, .. } => {
            prometheus::run(options, output, if_active).await
        }
        CtlCommand::Stats { watch: Some(interval), .. } => repeat::run(options, interval).await,
        CtlCommand::Stats { .. } => stats::run(options).await,
        CtlCommand::Workers { count: None } => workers::show(options).await,
        CtlCommand::Workers { count: Some(count) } => workers::set(options, count).await,
        CtlCommand::Events { follow: false, lines } => events::show(options, lines).await,
        CtlCommand::Events { follow: true, lines } => events::follow(options, lines).await,
        CtlCommand::Config => config::run(options).await,
        CtlCommand::Reload { dry_run } => reload::run(options, dry_run).await,
        CtlCommand::LogLevel { level: None } => log_level::show(options).await,
        CtlCommand::LogLevel { level: Some(level) } => log_level::set(options, level).await,
        CtlCommand::Drain { wait } => drain::drain(options, wait).await,
        CtlCommand::Resume => drain::resume(options).await,
        CtlCommand::Doctor => return doctor::run(options).await,
        CtlCommand::Top => top::run(options).await,
        CtlCommand::Bridge { purpose } => Ok(bridge::run(args.socket, purpose, args.timeout).await?),
        CtlCommand::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut CtlArgs::command(), "pixeldctl", &mut script);
            Ok(render::print_text(&String::from_utf8_lossy(&script))?)
        }
    }?;
    Ok(Exit::Ok)
}
