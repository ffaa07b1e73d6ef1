//! The terminal while top has it, and how it is given back.

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

/// A terminal that shows what is drawn, until this value goes away. ratatui's own end is left out: it
/// panics where the terminal has gone and stderr with it.
pub struct Screen(ManuallyDrop<Terminal<CrosstermBackend<Stdout>>>);

impl Screen {
    /// Whether there is a terminal that text can be placed on.
    ///
    /// # Errors
    /// When there is none.
    pub fn check() -> Result<(), CommandError> {
        if !stdout().is_terminal() {
            return Err(CommandError::NoScreen("stdout is no terminal".into()));
        }
        match TERM.text().as_deref().unwrap_or_default() {
            "" => Err(CommandError::NoScreen("$TERM does not say what terminal this is".into())),
            "dumb" => Err(CommandError::NoScreen("a terminal of the kind \"dumb\" cannot place text".into())),
            _ => Ok(()),
        }
    }

    /// Takes the terminal.
    ///
    /// # Errors
    /// When it cannot be had.
    pub fn open() -> Result<Self, CommandError> {
        let tell_later = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            restore();
            tell_later(info);
        }));
        enable_raw_mode()
            .map_err(|error| CommandError::NoScreen(format!("the terminal stays as it is: {error}")))?;
        let opened =
            execute!(stdout(), EnterAlternateScreen, Hide, Clear(ClearType::All)).and_then(|()| terminal());
        opened.map(|terminal| Self(ManuallyDrop::new(terminal))).map_err(|error| {
            restore();
            CommandError::Output(error)
        })
    }

    /// Draws all of it anew; only what is different is written.
    ///
    /// # Errors
    /// When the terminal has gone.
    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame)) -> io::Result<()> {
        self.0.draw(draw).map(drop)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // At a panic, the hook has done it, and what it said since is to be read.
        if !thread::panicking() {
            restore();
            drop(panic::take_hook());
        }
    }
}

fn terminal() -> io::Result<Terminal<CrosstermBackend<Stdout>>> {
    /// What a serial line has whose terminal does not tell.
    const USUAL: Rect = Rect { x: 0, y: 0, width: 80, height: 24 };

    let backend = CrosstermBackend::new(stdout());
    let is_known = backend.size().is_ok_and(|size| size.width > 0 && size.height > 0);
    let viewport = if is_known { Viewport::Fullscreen } else { Viewport::Fixed(USUAL) };
    Terminal::with_options(backend, TerminalOptions { viewport })
}

/// Gives the terminal back as it was. Where there is no alternate screen, the screen is left empty.
fn restore() {
    // Nothing more can be done about a terminal that has gone.
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
