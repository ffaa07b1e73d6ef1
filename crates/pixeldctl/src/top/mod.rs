//! `pixeldctl top`: shows daemons live on the whole terminal.

#[cfg(test)]
pub mod fixtures;
mod history;
mod host;
mod host_session;
mod key_bindings;
mod keyboard;
mod model;
mod terminal;
mod theme;
mod view;

use std::{
    future::pending,
    time::{Duration, SystemTime},
};

use futures_util::future::join_all;
use pixeld_control::unix_ms;
use tokio::{
    select,
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
    time::interval,
};

use self::{
    host_session::{HostSession, follow},
    keyboard::Keyboard,
    model::{FIRST_INTERVAL, HostUpdate, Model},
    terminal::Screen,
    theme::Theme,
};
use super::{
    error::{CommandError, CommandErrors},
    options::Options,
};

/// `pixeldctl top`: until the user quits, or the terminal goes away.
pub async fn run(options: &Options) -> Result<(), CommandErrors> {
    /// Updates that wait while the terminal is slow; further senders block.
    const MAX_PENDING_UPDATES: usize = 64;

    if options.json {
        return Err(CommandError::TopAsJson.into());
    }
    Screen::check()?;
    // Before the screen is taken, because ssh may ask for a password.
    let (intervals, every) = watch::channel(FIRST_INTERVAL);
    let connecting =
        options.targets.iter().map(|target| HostSession::open(target, FIRST_INTERVAL, options.timeout));
    let sessions = join_all(connecting).await;
    if let [Err(_)] = sessions.as_slice() {
        // One of several hosts may come back later; the only one is an error.
        return CommandErrors::all(sessions.into_iter().filter_map(Result::err));
    }
    let (sender, updates) = mpsc::channel(MAX_PENDING_UPDATES);
    let following = options.targets.iter().zip(sessions).enumerate().map(|(number, (target, session))| {
        follow(number, target, options.timeout, session, every.clone(), sender.clone())
    });
    let following = async {
        join_all(following).await;
        pending().await
    };
    let model = Model::new(options.targets.iter().map(ToString::to_string));
    let showing = show(model, updates, intervals);
    select! {
        never = following => never,
        done = showing => Ok(done?),
    }
}

async fn show(
    mut model: Model,
    mut updates: mpsc::Receiver<(usize, HostUpdate)>,
    intervals: watch::Sender<Duration>,
) -> Result<(), CommandError> {
    let of = |kind| signal(kind).map_err(CommandError::Os);
    let mut terminated = of(SignalKind::terminate())?;
    let mut interrupted = of(SignalKind::interrupt())?;
    let mut hung_up = of(SignalKind::hangup())?;
    let mut resized = of(SignalKind::window_change())?;
    let mut seconds = interval(Duration::from_secs(1));
    let mut keyboard = Keyboard::open()?;
    let theme = Theme::from_environment();
    let mut screen = Screen::open()?;
    loop {
        let drawn = screen.draw(|frame| {
            let lines = view::draw(frame, &model, &theme, unix_ms(SystemTime::now()));
            model.drawn(lines);
        });
        if drawn.is_err() {
            // The terminal is closed.
            return Ok(());
        }
        select! {
            _ = terminated.recv() => return Ok(()),
            _ = interrupted.recv() => return Ok(()),
            _ = hung_up.recv() => return Ok(()),
            keys = keyboard.next() => {
                if !keys.into_iter().all(|key| model.press(key)) {
                    return Ok(());
                }
                intervals.send_if_modified(|interval| {
                    std::mem::replace(interval, model.interval) != model.interval
                });
            }
            Some((host, update)) = updates.recv() => {
                model.apply(host, update);
                // Draw once for all pending updates.
                while let Ok((host, update)) = updates.try_recv() {
                    model.apply(host, update);
                }
            }
            _ = resized.recv() => {}
            _ = seconds.tick() => {}
        }
    }
}
