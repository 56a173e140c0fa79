//! `failover.svg`: every fault as a dot on a logarithmic scale, the median as a bar with its value.

use super::{figures::Run, table::seconds};

const WIDTH: f64 = 920.0;
const LEFT: f64 = 300.0;
const RIGHT: f64 = 90.0;
const TOP: f64 = 64.0;
const ROW: f64 = 30.0;
const BOTTOM: f64 = 44.0;

/// Colours for light and for dark, chosen by whoever shows the picture.
const STYLE: &str = "\
  .paper { fill: #ffffff } .ink { fill: #1f2328 } .faint { fill: #59636e } .line { stroke: #d1d9e0 }
  .own { fill: #0969da } .other { fill: #bc4c00 }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #0d1117 } .ink { fill: #f0f6fc } .faint { fill: #9198a1 }
    .line { stroke: #3d444d } .own { fill: #4493f8 } .other { fill: #db6d28 }
  }
  text { font: 13px system-ui, sans-serif } .title { font-weight: 600; font-size: 16px }
";

/// From milliseconds to a place on the picture.
struct Scale {
    low: f64,
    high: f64,
    ticks: Vec<i64>,
}

impl Scale {
    /// From the 1, 2 or 5 times a power of ten below all values to the one above.
    fn of(values: impl Iterator<Item = i64>) -> Self {
        let values: Vec<i64> = values.map(|value| value.max(1)).collect();
        let lowest = values.iter().copied().min().unwrap_or(100);
        let highest = values.iter().copied().max().unwrap_or(1000);
        let steps: Vec<i64> =
            (0..9_u32).flat_map(|power| [1, 2, 5].map(|step| step * 10_i64.pow(power))).collect();
        let first = steps.iter().rposition(|step| *step <= lowest).unwrap_or_default();
        let last = steps.iter().position(|step| *step >= highest).unwrap_or(steps.len() - 1);
        let ticks = steps.get(first..=last.max(first + 1)).unwrap_or_default().to_vec();
        let log = |tick: Option<&i64>| logarithm(tick.copied().unwrap_or(1));
        Self { low: log(ticks.first()), high: log(ticks.last()), ticks }
    }

    fn x(&self, millis: i64) -> f64 {
        let share = (logarithm(millis) - self.low) / (self.high - self.low);
        LEFT + share * (WIDTH - LEFT - RIGHT)
    }
}

fn logarithm(millis: i64) -> f64 {
    super::figures::thousandths(millis.max(1)).log10()
}

/// The picture of all runs.
pub fn failover(runs: &[Run]) -> String {
    let scale = Scale::of(runs.iter().flat_map(|run| run.samples.iter().copied()));
    let rows: f64 = runs.iter().map(|_| ROW).sum();
    let height = TOP + rows + BOTTOM;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n\
         <title>Failover times</title>\n<style>\n{STYLE}</style>\n\
         <rect class=\"paper\" width=\"{WIDTH}\" height=\"{height}\"/>\n\
         <text class=\"ink title\" x=\"16\" y=\"26\">How long clients are cut off</text>\n\
         <text class=\"faint\" x=\"16\" y=\"46\">from the fault (or the old master's last one) to the first acknowledged send; \
         a dot is one fault, the bar the median; logarithmic</text>\n"
    );
    svg += &grid(&scale, TOP + rows);
    let mut y = TOP + ROW / 2.0;
    for run in runs {
        svg += &row(run, &scale, y);
        y += ROW;
    }
    svg + "</svg>\n"
}

fn grid(scale: &Scale, bottom: f64) -> String {
    let line = |tick: &i64| {
        let (x, label) = (scale.x(*tick), tick_label(*tick));
        format!(
            "<line class=\"line\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>\n\
             <text class=\"faint\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>\n",
            bottom + 20.0
        )
    };
    scale.ticks.iter().map(line).collect()
}

fn tick_label(millis: i64) -> String {
    if millis < 1000 { format!("{millis} ms") } else { format!("{} s", millis / 1000) }
}

fn row(run: &Run, scale: &Scale, y: f64) -> String {
    let class = if run.group.starts_with("baseline") { "other" } else { "own" };
    let name = format!("{} {}, {}", run.group, run.fault, run.path.as_str());
    let label = format!(
        "<text class=\"ink\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{name}</text>\n",
        LEFT - 14.0,
        y + 4.5
    );
    let dot = |sample: &i64| {
        let x = scale.x(*sample);
        format!("<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y}\" r=\"4\" opacity=\"0.45\"/>\n")
    };
    let median = run.percentile(50).map(|median| {
        format!(
            "<rect class=\"{class}\" x=\"{:.1}\" y=\"{}\" width=\"4\" height=\"20\" rx=\"1\"/>\n\
             <text class=\"ink\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n",
            scale.x(median) - 2.0,
            y - 10.0,
            WIDTH - 16.0,
            y + 4.5,
            seconds(median)
        )
    });
    std::iter::once(label).chain(run.samples.iter().map(dot)).chain(median).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::tests::series;

    #[test]
    fn the_scale_reaches_around_all_values() {
        let scale = Scale::of([700, 33_000].into_iter());
        assert_eq!(scale.ticks, [500, 1000, 2000, 5000, 10_000, 20_000, 50_000]);
        assert!((scale.x(500) - LEFT).abs() < 0.1);
        assert!((scale.x(50_000) - (WIDTH - RIGHT)).abs() < 0.1);
        assert_eq!(Scale::of([1000].into_iter()).ticks, [1000, 2000]);
        assert_eq!(Scale::of(std::iter::empty()).ticks.len(), 4);
    }

    #[test]
    fn every_fault_is_a_dot_and_every_run_has_its_median() {
        let mut runs = series("classic-file", &[700, 900, 800]).runs();
        runs.extend(series("baseline-stock-pair", &[7000]).runs());
        let svg = failover(&runs);
        assert_eq!(svg.matches("<circle").count(), 8);
        assert_eq!(svg.matches(">0.80 s<").count(), 2);
        assert_eq!(svg.matches(">7.00 s<").count(), 2);
        assert!(svg.contains("prefers-color-scheme: dark"));
        assert_eq!(svg.matches("<svg").count(), svg.matches("</svg>").count());
    }
}
