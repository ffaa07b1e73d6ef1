use std::io;

use anstyle::AnsiColor;
use pixeld_control::environment::TERM;
use ratatui::{
    style::{Color, Modifier, Style},
    symbols::bar,
};

use crate::render;

/// Characters and colours of a terminal.
#[derive(Debug, Clone)]
pub struct Theme {
    /// From empty to a full bar.
    pub levels: bar::Set<'static>,
    /// The full and the empty part of a horizontal bar.
    pub full: &'static str,
    pub empty: &'static str,
    has_colours: bool,
}

/// For terminals without block characters.
const ASCII: bar::Set<'static> = bar::Set {
    full: "#",
    seven_eighths: "%",
    three_quarters: "*",
    five_eighths: "+",
    half: "=",
    three_eighths: "-",
    one_quarter: ":",
    one_eighth: ".",
    empty: " ",
};

impl Theme {
    pub fn from_environment() -> Self {
        let colours = anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never;
        Self::of(&TERM.text().unwrap_or_default(), &render::locale(), colours)
    }

    /// Returns the theme of a terminal in a locale.
    pub fn of(terminal: &str, locale: &str, colours: bool) -> Self {
        let is_utf8 = render::is_utf8(locale);
        let is_old = terminal.starts_with("vt") || terminal == "ansi";
        let (levels, full, empty) = match terminal {
            _ if is_old || !is_utf8 => (ASCII, "#", "."),
            // The font of the kernel's console has full and half blocks only.
            "linux" => (bar::THREE_LEVELS, "\u{2588}", "\u{2591}"),
            _ => (bar::NINE_LEVELS, "\u{2588}", "\u{2591}"),
        };
        Self { levels, full, empty, has_colours: colours && !is_old }
    }

    /// Converts a style; without its colour if colours are disabled.
    pub fn style(&self, style: anstyle::Style) -> Style {
        let effects = style.get_effects();
        let mut modifiers = Modifier::empty();
        modifiers.set(Modifier::BOLD, effects.contains(anstyle::Effects::BOLD));
        modifiers.set(Modifier::DIM, effects.contains(anstyle::Effects::DIMMED));
        let style_here = Style::new().add_modifier(modifiers);
        match style.get_fg_color() {
            Some(anstyle::Color::Ansi(colour)) if self.has_colours => style_here.fg(ansi(colour)),
            _ => style_here,
        }
    }

    /// Returns a share from 0 to 1 as a bar.
    pub fn bar(&self, share: f64, width: usize) -> String {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let full = (share.clamp(0.0, 1.0) * width as f64).round() as usize;
        self.full.repeat(full) + &self.empty.repeat(width - full)
    }
}

fn ansi(colour: AnsiColor) -> Color {
    match colour {
        AnsiColor::Red => Color::Red,
        AnsiColor::Yellow => Color::Yellow,
        AnsiColor::Green => Color::Green,
        _ => Color::Reset,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::{BAD, DIM};

    #[test]
    fn ascii_locale_gets_only_ascii() {
        let bar = |terminal, locale| Theme::of(terminal, locale, true).bar(0.5, 4);
        assert_eq!(bar("xterm-256color", "C.UTF-8"), "██░░");
        assert_eq!(bar("xterm", "en_US.utf8"), "██░░");
        for (terminal, locale) in [("vt100", "C.UTF-8"), ("xterm", "C"), ("screen", ""), ("linux", "POSIX")] {
            assert_eq!(bar(terminal, locale), "##..", "{terminal}, {locale}");
            assert_eq!(Theme::of(terminal, locale, true).levels, ASCII);
        }
        assert_eq!(Theme::of("linux", "C.UTF-8", true).levels, bar::THREE_LEVELS);
    }

    #[test]
    fn no_color_keeps_bold() {
        let bold = Style::new().add_modifier(Modifier::BOLD);
        assert_eq!(Theme::of("xterm", "", false).style(BAD), bold);
        assert_eq!(Theme::of("vt220", "", true).style(BAD), bold);
        assert_eq!(Theme::of("xterm", "", true).style(BAD), bold.fg(Color::Red));
        assert_eq!(Theme::of("xterm", "", true).style(DIM), Style::new().add_modifier(Modifier::DIM));
    }
}
