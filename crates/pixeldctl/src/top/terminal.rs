//! The terminal while top uses it, and its restoration.

use std::{
    io::{self, IsTerminal, Stdout, stdout},
    mem::ManuallyDrop,
    panic, thread,
};

use crate::error::CommandError;
use pixeld_control::environment::TERM;
use ratatui::{
    Frame, Terminal, TerminalOptions, Viewport,
    backend::{Backend, CrosstermBackend},
    crossterm::{
        cursor::{Hide, MoveTo, Show},
        execute,
        style::{Attribute, SetAttribute},
        terminal::{
            Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
        },
    },
    layout::Rect,
};

/// A terminal in raw mode, restored on drop. ratatui's own destructor is skipped, because it panics if the terminal
/// and stderr are closed.
pub struct Screen(ManuallyDrop<Terminal<CrosstermBackend<Stdout>>>);

impl Screen {
    /// Fails unless stdout is a terminal that can position text.
    pub fn check() -> Result<(), CommandError> {
        if !stdout().is_terminal() {
            return Err(CommandError::NoScreen("stdout is not a terminal".into()));
        }
        match TERM.text().as_deref().unwrap_or_default() {
            "" => Err(CommandError::NoScreen("TERM is not set".into())),
            "dumb" => Err(CommandError::NoScreen("TERM=dumb cannot position text".into())),
            _ => Ok(()),
        }
    }

    /// Switches the terminal to raw mode and to the alternate screen.
    pub fn open() -> Result<Self, CommandError> {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            restore();
            report(info);
        }));
        enable_raw_mode().map_err(|error| CommandError::NoScreen(format!("raw mode: {error}")))?;
        let opened =
            execute!(stdout(), EnterAlternateScreen, Hide, Clear(ClearType::All)).and_then(|()| terminal());
        opened.map(|terminal| Self(ManuallyDrop::new(terminal))).map_err(|error| {
            restore();
            CommandError::Output(error)
        })
    }

    /// Draws a frame; writes only the difference to the last one.
    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame)) -> io::Result<()> {
        self.0.draw(draw).map(drop)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // After a panic, the hook has restored the terminal, and its message must stay visible.
        if !thread::panicking() {
            restore();
            drop(panic::take_hook());
        }
    }
}

fn terminal() -> io::Result<Terminal<CrosstermBackend<Stdout>>> {
    /// The size of a terminal that does not report it, such as a serial line.
    const USUAL: Rect = Rect { x: 0, y: 0, width: 80, height: 24 };

    let backend = CrosstermBackend::new(stdout());
    let is_known = backend.size().is_ok_and(|size| size.width > 0 && size.height > 0);
    let viewport = if is_known { Viewport::Fullscreen } else { Viewport::Fixed(USUAL) };
    Terminal::with_options(backend, TerminalOptions { viewport })
}

/// Restores the terminal. Without an alternate screen, the screen is cleared.
fn restore() {
    // A closed terminal needs no restoration.
    let _ = execute!(
        stdout(),
        SetAttribute(Attribute::Reset),
        Clear(ClearType::All),
        MoveTo(0, 0),
        LeaveAlternateScreen,
        Show
    );
    let _ = disable_raw_mode();
}
