//! The table and the JSON report.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::figures::median;
use super::run::{Figures, Outcome};
use super::shapes::{Plan, Shape};
use super::targets::Kind;
use super::targets::floor::Merging;

/// All rounds of one shape with one target.
pub struct Row {
    pub shape: Shape,
    pub target: Kind,
    pub outcomes: Vec<Outcome>,
}

impl Row {
    /// The middle of each figure over the rounds.
    fn medians(&self) -> Figures {
        let mut all: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
        for outcome in &self.outcomes {
            for (name, value) in &outcome.figures {
                all.entry(name).or_default().push(*value);
            }
        }
        all.into_iter().filter_map(|(name, values)| Some((name, median(&values)?))).collect()
    }

    /// The middle of what this target's processor time is of the other's in the same round.
    fn ratio(&self, to: &Self) -> Option<f64> {
        let cost = |outcome: &Outcome| outcome.figures.get("cpuSecondsPerGigabit").copied();
        let pairs = self.outcomes.iter().zip(&to.outcomes);
        let ratios: Vec<f64> = pairs.filter_map(|(own, other)| Some(cost(own)? / cost(other)?)).collect();
        median(&ratios)
    }
}

/// Heading, figure, digits behind the point.
type Column = (&'static str, &'static str, usize);

const COSTS: &[Column] = &[
    ("CPU-s/Gbit", "cpuSecondsPerGigabit", 3),
    ("delay p50", "delayP50Ms", 2),
    ("p95", "delayP95Ms", 2),
    ("p99 ms", "delayP99Ms", 2),
    ("lost", "lost", 0),
    ("stalls", "stalls", 0),
    ("Gbit/s", "gigabitsPerSecond", 3),
    ("server cores", "serverCores", 2),
    ("load cores", "loadCores", 2),
    ("load late p99 ms", "lateP99Ms", 2),
    ("load slips", "loadSlips", 0),
];
const MEMORY: &[Column] = &[("KiB per viewer", "kibPerViewer", 1), ("grown MiB", "memoryGrownMib", 1)];
const SLOW: &[Column] = &[("unsent KiB", "slowViewerUnsentKib", 0), ("grown MiB", "memoryGrownMib", 1)];
const JOINS: &[Column] = &[
    ("keyframe p50", "keyframeP50Ms", 2),
    ("p99 ms", "keyframeP99Ms", 2),
    ("from connect p50", "connectP50Ms", 2),
    ("p99 ms", "connectP99Ms", 2),
    ("joins/s", "joinsPerSecond", 0),
    ("CPU-ms each", "cpuMsPerJoin", 3),
];
const CHURN: &[Column] = &[
    ("joins/s", "joinsPerSecond", 0),
    ("CPU-ms each", "cpuMsPerJoin", 3),
    ("server cores", "serverCores", 2),
    ("load cores", "loadCores", 2),
    ("grown MiB", "memoryGrownMib", 1),
];

fn columns(plan: Plan) -> Vec<Column> {
    let parts: &[&[Column]] = match plan {
        Plan::Watch => &[COSTS],
        Plan::Crawl(_) => &[COSTS, SLOW],
        Plan::Idle => &[MEMORY],
        Plan::Memory => &[MEMORY, COSTS],
        Plan::Join => &[JOINS],
        Plan::Churn => &[CHURN],
    };
    parts.concat()
}

/// The rows of one shape as a table in Markdown.
pub fn table(rows: &[&Row]) -> String {
    let Some(first) = rows.first() else { return String::new() };
    let columns = columns(first.shape.plan);
    let with = |kind: &Kind| rows.iter().find(|row| row.target == *kind);
    let (floor, nginx) = (with(&Kind::Floor(Merging::None)), with(&Kind::Nginx { is_auto: false }));
    let has_cost = columns.iter().any(|(_, name, _)| *name == "cpuSecondsPerGigabit");
    let mut heading = vec![first.shape.name];
    heading.extend(columns.iter().map(|(heading, ..)| *heading));
    if has_cost {
        heading.extend(["× floor", "× nginx"]);
    }
    let mut lines = vec![heading.into_iter().map(str::to_owned).collect::<Vec<_>>()];
    for row in rows {
        let mut medians = row.medians();
        if let (Some(gigabits), Some(seconds)) = (medians.get("gigabits"), medians.get("seconds")) {
            let rate = gigabits / seconds;
            medians.insert("gigabitsPerSecond", rate);
        }
        let mut line = vec![row.target.to_string()];
        for (_, name, digits) in &columns {
            let text = medians.get(name).map(|value| format!("{value:.digits$}"));
            line.push(text.unwrap_or_else(|| "–".to_owned()));
        }
        if has_cost {
            for other in [floor, nginx] {
                let ratio = other.and_then(|other| row.ratio(other));
                line.push(ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}")));
            }
        }
        lines.push(line);
    }
    render(&lines)
}

fn render(lines: &[Vec<String>]) -> String {
    let count = lines.first().map_or(0, Vec::len);
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        let cells = line.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        text += &format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "));
        if number == 0 {
            let rule = widths.iter().map(|width| "-".repeat(*width));
            text += &format!("|-{}-|\n", rule.collect::<Vec<_>>().join("-|-"));
        }
    }
    text
}

/// Everything, for machines.
pub fn json(rows: &[Row], loads: &[f64]) -> Value {
    let rows = rows.iter().map(|row| {
        let others = rows.iter().filter(|other| other.shape.name == row.shape.name);
        let ratios: BTreeMap<String, f64> =
            others.filter_map(|other| Some((other.target.to_string(), row.ratio(other)?))).collect();
        let failures: Vec<_> = row.outcomes.iter().filter_map(|outcome| outcome.failure.as_ref()).collect();
        json!({
            "shape": row.shape.name,
            "about": row.shape.about,
            "target": row.target.to_string(),
            "medians": row.medians(),
            "cpuRatioTo": ratios,
            "rounds": row.outcomes.iter().map(|outcome| &outcome.figures).collect::<Vec<_>>(),
            "failures": failures,
        })
    });
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    json!({ "processors": processors, "loadAverages": loads, "rows": rows.collect::<Vec<_>>() })
}
