//! The results as a table in aligned columns.

use super::figures::{Run, ratios, thousandths};

/// A table whose columns are as wide as their widest cell; the first `left` are aligned left.
pub fn aligned(rows: &[Vec<String>], left: usize) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            let width = *width;
            if column < left { format!("{cell:width$}") } else { format!("{cell:>width$}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(|row| line(row) + "\n").collect()
}

/// The failover times with their parts, and the ratios under them.
pub fn failover(runs: &[Run]) -> String {
    let mut rows = vec![header()];
    rows.extend(runs.iter().map(row));
    let mut text = aligned(&rows, 3);
    text += "Times in ms from the fault, of a switchover from the old master's last acknowledgement; \
             percentiles by nearest rank.\nlock, greeting, record, service: medians. \
             service-greeting: p95 of the Service's switch after the greeting.\nprepared: median \
             from a switchover's request to the last acknowledgement, while clients are served.\n";
    let ratios = ratios(runs).into_iter().map(|ratio| {
        let (path, of, to, times) = (ratio.path.as_str(), ratio.of, ratio.to, ratio.times);
        format!("{path}: p50 of {of} is {times:.1} times that of {to}\n")
    });
    text.extend(ratios);
    text
}

fn header() -> Vec<String> {
    [
        "group",
        "fault",
        "path",
        "n",
        "p50",
        "p95",
        "max",
        "acknowledged",
        "lost",
        "duplicates",
        "lock",
        "greeting",
        "record",
        "service",
        "service-greeting",
        "prepared",
    ]
    .map(str::to_owned)
    .to_vec()
}

fn row(run: &Run) -> Vec<String> {
    let known = |value: Option<i64>| value.map_or_else(|| "-".to_owned(), |ms| ms.to_string());
    let mut cells = vec![
        run.group.to_owned(),
        run.fault.to_owned(),
        run.path.as_str().to_owned(),
        run.samples.len().to_string(),
    ];
    cells.extend([50, 95, 100].map(|percent| known(run.percentile(percent))));
    let account = &run.account;
    let counts = [account.acknowledged, account.lost, account.duplicates];
    cells.extend(counts.map(|count| count.to_string()));
    cells.extend(run.parts.iter().map(|(_, value)| known(*value)));
    cells
}

/// `0.85 s`, as people read it.
pub fn seconds(millis: i64) -> String {
    let seconds = thousandths(millis);
    if millis < 10_000 { format!("{seconds:.2} s") } else { format!("{seconds:.1} s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::tests::series;

    #[test]
    fn names_are_aligned_left_and_numbers_right() {
        let rows = [["name", "ms"], ["a", "1200"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(aligned(&rows, 1), "name    ms\na     1200\n");
    }

    #[test]
    fn the_table_tells_every_run_and_the_ratio() {
        let mut runs = series("classic-file", &[700, 900]).runs();
        runs.extend(series("baseline-stock-pair", &[7000]).runs());
        let text = failover(&runs);
        let own = text.lines().find(|line| line.starts_with("classic-file")).unwrap();
        let cells: Vec<_> = own.split_whitespace().collect();
        assert_eq!(cells[1..10], ["sigkill", "service", "2", "700", "900", "900", "100", "0", "1"]);
        assert_eq!(cells[10..], ["-", "650", "-", "680", "30", "-"]);
        assert!(text.contains("service: p50 of baseline-stock-pair is 10.0 times"), "{text}");
    }

    #[test]
    fn times_are_told_in_seconds() {
        assert_eq!(seconds(849), "0.85 s");
        assert_eq!(seconds(12_345), "12.3 s");
    }
}
