//! Where output goes: results to standard output, progress and complaints to standard error.

use std::io::{self, IsTerminal, Write};

use super::render::style::Style;

/// To the top left corner; the screen and what has left it is forgotten.
const CLEAR: &[u8] = b"\x1b[H\x1b[2J\x1b[3J";

/// The text without what steers a terminal, other than lines, tabs and colours. Logs, annotations and
/// messages of a status hold what others wrote.
fn harmless(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_control() && !matches!(c, '\n' | '\t')) {
        let (before, from) = rest.split_at(at);
        clean.push_str(before);
        let length = colour(from).unwrap_or(0);
        let (kept, after) = from.split_at(length);
        clean.push_str(kept);
        let mut after = after.chars();
        if length == 0 {
            after.next();
            clean.push('?');
        }
        rest = after.as_str();
    }
    clean + rest
}

/// The length of a colour's sequence at the beginning, if there is one.
fn colour(text: &str) -> Option<usize> {
    let (digits, _) = text.strip_prefix("\x1b[")?.split_once('m')?;
    let plain = digits.len() <= 2 && digits.chars().all(|c| c.is_ascii_digit());
    plain.then_some("\x1b[m".len() + digits.len())
}

/// Where output goes.
pub struct Screen {
    out: Box<dyn Write + Send>,
    notes: Box<dyn Write + Send>,
    /// Colours and width of standard output.
    pub style: Style,
    /// Whether the page can be drawn again in place.
    pub redraws: bool,
    /// Whether somebody is there to be asked.
    pub asks: bool,
}

impl Screen {
    /// The process's own streams. Colours only on a terminal.
    pub fn of_process(no_color: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        let unwanted = no_color
            || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        let width = rustix::termios::tcgetwinsize(io::stdout()).ok();
        let width = width.map(|size| usize::from(size.ws_col)).filter(|columns| *columns >= 40);
        Self {
            out: Box::new(io::stdout()),
            notes: Box::new(io::stderr()),
            style: Style { colour: terminal && !unwanted, width: width.filter(|_| terminal) },
            redraws: terminal,
            asks: io::stdin().is_terminal() && io::stderr().is_terminal(),
        }
    }

    /// Other streams, without colours: for tests.
    pub fn to(out: Box<dyn Write + Send>, notes: Box<dyn Write + Send>) -> Self {
        Self { out, notes, style: Style::default(), redraws: false, asks: false }
    }

    /// A part of the result.
    ///
    /// # Errors
    /// When nobody reads it any longer.
    pub fn print(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(harmless(text).as_bytes())?;
        self.out.flush()
    }

    /// Takes everything off a terminal.
    ///
    /// # Errors
    /// When nobody reads it any longer.
    pub fn clear(&mut self) -> io::Result<()> {
        self.out.write_all(CLEAR)
    }

    /// A line of the result.
    ///
    /// # Errors
    /// When nobody reads it any longer.
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        self.print(&format!("{text}\n"))
    }

    /// A line for whoever waits. If nobody can read it, the work goes on.
    pub fn note(&mut self, text: &str) {
        drop(writeln!(self.notes, "{}", harmless(text)));
    }

    /// Why it did not work.
    pub fn complain(&mut self, text: &str) {
        self.note(&format!("error: {text}"));
    }

    /// Asks for a yes or no; `false` when nobody is there to answer.
    pub fn confirm(&mut self, question: &str) -> bool {
        if !self.asks {
            return false;
        }
        drop(write!(self.notes, "{question} [y/N] "));
        drop(self.notes.flush());
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).is_ok()
            && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn colours_stay_and_what_else_steers_a_terminal_goes() {
        for (text, shown) in [
            ("a\tb\n", "a\tb\n"),
            ("\x1b[32mWaiting\x1b[0m", "\x1b[32mWaiting\x1b[0m"),
            ("\x1b[2Jx\x1b[12;3Hy\x1b]0;title\x07", "?[2Jx?[12;3Hy?]0;title?"),
            ("a\rb\u{9b}c\x1b", "a?b?c?"),
        ] {
            assert_eq!(harmless(text), shown);
        }
    }

    proptest! {
        #[test]
        fn no_text_steers_a_terminal(text in "[a\\x1b\\[m0-9\\r\u{9b}J;]{0,30}") {
            let shown = harmless(&text);
            for (at, _) in shown.match_indices(|c: char| c.is_control() && c != '\n' && c != '\t') {
                prop_assert!(colour(&shown[at..]).is_some(), "{:?}", shown);
            }
            prop_assert_eq!(shown.chars().count(), text.chars().count());
        }
    }
}
