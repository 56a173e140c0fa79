//! Aligned columns. The last one is wrapped where a terminal is too narrow for it.

use super::style::{Style, Tone};

/// Between two columns.
const GAP: usize = 2;
/// No wrapped column is narrower.
const NARROWEST: usize = 20;

/// A text and its tone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    text: String,
    tone: Tone,
}

/// A text without a tone of its own.
impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), tone: Tone::Plain }
    }
}

/// A text in a tone.
pub fn toned(tone: Tone, text: impl Into<String>) -> Cell {
    Cell { text: text.into(), tone }
}

/// Rows of equal length.
#[derive(Clone, Debug, Default)]
pub struct Table {
    indent: usize,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// An empty table, so far from the left margin.
    pub fn indented(indent: usize) -> Self {
        Self { indent, rows: Vec::new() }
    }

    /// With a first row of column names.
    #[must_use]
    pub fn headed(mut self, names: &[&str]) -> Self {
        self.rows.push(names.iter().map(|name| toned(Tone::Faint, *name)).collect());
        self
    }

    /// One more row.
    pub fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        self.rows.push(cells.into());
    }

    /// As lines, each with its end.
    pub fn render(&self, style: Style) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| row.get(column));
                cells.map(|cell| cell.text.chars().count()).max().unwrap_or_default()
            })
            .collect();
        self.rows.iter().map(|row| self.line(row, &widths, style)).collect()
    }

    fn line(&self, row: &[Cell], widths: &[usize], style: Style) -> String {
        let Some((last, before)) = row.split_last() else { return String::from("\n") };
        let mut line = " ".repeat(self.indent);
        let mut used = self.indent;
        for (cell, width) in before.iter().zip(widths) {
            let blank = width + GAP - cell.text.chars().count();
            line += &style.paint(cell.tone, &cell.text);
            line += &" ".repeat(blank);
            used += width + GAP;
        }
        let room = style.width.map(|width| width.saturating_sub(used).max(NARROWEST));
        let wrapped = wrap(&last.text, room);
        let parts: Vec<String> = wrapped.iter().map(|part| style.paint(last.tone, part)).collect();
        line += &parts.join(&format!("\n{}", " ".repeat(used)));
        format!("{}\n", line.trim_end())
    }
}

/// Words in lines of at most so many columns; a longer word stays whole, so that it can be copied.
fn wrap(text: &str, room: Option<usize>) -> Vec<String> {
    let Some(room) = room else { return vec![text.to_owned()] };
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let Some(line) = lines.last_mut() else { break };
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= room {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::indented(2).headed(&["POD", "STATE", "MESSAGE"]);
        table.row(["orders-0".into(), toned(Tone::Good, "Waiting"), Cell::default()]);
        let long = "it waits for a lock that another one holds since a while";
        table.row(["orders-1".into(), toned(Tone::Bad, "Silent"), long.into()]);
        table
    }

    #[test]
    fn columns_are_aligned_and_lines_have_no_blanks_at_their_end() {
        assert_eq!(
            sample().render(Style::default()),
            "  POD       STATE    MESSAGE\n  orders-0  Waiting\n  \
             orders-1  Silent   it waits for a lock that another one holds since a while\n"
        );
    }

    #[test]
    fn the_last_column_is_wrapped_under_itself() {
        let narrow = sample().render(Style { colour: false, width: Some(50) });
        let lines: Vec<&str> = narrow.lines().collect();
        assert_eq!(lines[2], "  orders-1  Silent   it waits for a lock that");
        assert_eq!(lines[3], "                     another one holds since a");
        assert!(lines.iter().all(|line| line.len() <= 50), "{narrow}");
    }

    #[test]
    fn colours_take_no_room() {
        let plain = sample().render(Style::default());
        let coloured = sample().render(Style { colour: true, width: None });
        assert!(coloured.contains("\x1b[32mWaiting\x1b[0m"));
        let bare = ["0", "2", "31", "32"]
            .iter()
            .fold(coloured, |text, code| text.replace(&format!("\x1b[{code}m"), ""));
        assert_eq!(bare, plain);
    }

    #[test]
    fn a_long_word_stays_whole() {
        assert_eq!(
            wrap("a failover:(tcp://orders-0) b", Some(8)),
            ["a", "failover:(tcp://orders-0)", "b"]
        );
    }
}
