//! pixeldctl: finds the daemon's socket, makes one call, shows the reply.

mod args;
mod failure;
mod locate;
mod reload;
mod render;
mod stats;
mod workers;

use clap::Parser;
use tokio::runtime;

use self::{
    args::{Args, Command},
    failure::Failure,
    locate::Need,
};
use crate::exit::Exit;

/// The whole life of `pixeldctl`, from its command line to its exit code.
pub fn main() -> Exit {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return Exit::after_usage(&error),
    };
    let runtime = match runtime::Builder::new_current_thread().enable_io().enable_time().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::Os(error).tell(),
    };
    match runtime.block_on(run(&args)) {
        Ok(()) => Exit::Ok,
        Err(failure) => failure.tell(),
    }
}

async fn run(args: &Args) -> Result<(), Failure> {
    let need = match args.command {
        Command::Stats | Command::Workers { count: None } => Need::Read,
        Command::Workers { count: Some(_) } | Command::Reload => Need::Change,
    };
    let mut client = locate::connect(args.socket.clone(), need, args.timeout).await?;
    match args.command {
        Command::Stats => stats::run(&mut client, args.json).await,
        Command::Workers { count: None } => workers::show(&mut client, args.json).await,
        Command::Workers { count: Some(count) } => workers::set(&mut client, count, args.json).await,
        Command::Reload => reload::run(&mut client, args.json).await,
    }
}
