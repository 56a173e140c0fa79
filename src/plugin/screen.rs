//! Where output goes: results to standard output, progress and complaints to standard error.

use std::io::{self, IsTerminal, Write};

use super::render::style::Style;

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
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
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
        drop(writeln!(self.notes, "{text}"));
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
