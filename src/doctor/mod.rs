//! `tidegate doctor`: looks at the settings and at the machine, and says what would trouble the gateway before it does.
//!
//! It changes nothing but a probe file that it removes again, and works beside the running gateway or without one. What it
//! sees is what its user and its environment see: run it as the gateway's user.

mod machine;
mod reach;
mod running;

use std::ffi::OsString;
use std::path::Path;

use serde::Serialize;

use crate::config::{Config, Loaded};
use running::Running;

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing to do, or nothing can be known here.
    Ok,
    /// The gateway works, and somebody will have trouble.
    Warn,
    /// The gateway does not start, or does not do what the settings say.
    Fail,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at, in a word or two that stay the same.
    pub name: &'static str,
    /// How it came out.
    pub verdict: Verdict,
    /// What was seen.
    pub says: String,
    /// What to do about it, where something is to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl Check {
    fn ok(name: &'static str, says: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, says: says.into(), mend: None }
    }

    fn warn(name: &'static str, says: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Warn, says: says.into(), mend: Some(mend.into()) }
    }

    fn fail(name: &'static str, says: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Fail, says: says.into(), mend: Some(mend.into()) }
    }

    /// A failure whose line says after a semicolon how to mend it.
    fn error(name: &'static str, line: &str) -> Self {
        Self::told(name, Verdict::Fail, line)
    }

    /// A line that says after a semicolon or a colon how to mend it.
    fn told(name: &'static str, verdict: Verdict, line: &str) -> Self {
        let line = line.replace(['\n', '\r'], " ");
        match line.rsplit_once("; ") {
            Some((says, mend)) => Self { name, verdict, says: says.to_owned(), mend: Some(mend.to_owned()) },
            None => Self { name, verdict, says: line, mend: None },
        }
    }
}

/// All that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether nothing failed.
    pub ok: bool,
    /// Each check, in the order in which it was made.
    pub checks: Vec<Check>,
}

impl Report {
    fn new(checks: Vec<Check>) -> Self {
        Self { ok: checks.iter().all(|check| check.verdict != Verdict::Fail), checks }
    }

    /// How many came out as `verdict`.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.checks.iter().filter(|check| check.verdict == verdict).count()
    }

    /// One line for each check.
    pub fn text(&self) -> String {
        let width = self.checks.iter().map(|check| check.name.len()).max().unwrap_or_default();
        let mut text = String::new();
        for Check { name, verdict, says, mend } in &self.checks {
            text.push_str(&format!("{:<4}  {name:<width$}  {says}", verdict.word()));
            if let Some(mend) = mend {
                text.push_str(&format!("; {mend}"));
            }
            text.push('\n');
        }
        text
    }
}

/// Looks at everything. Takes a second at most, but for a disk or a resolver that hangs.
pub fn examine(file: Option<&Path>, environment: impl IntoIterator<Item = (OsString, OsString)>) -> Report {
    let Loaded { config, warnings } = match Config::load(file, environment) {
        Ok(loaded) => loaded,
        Err(error) => return Report::new(vec![Check::error("settings", &error.to_string())]),
    };
    let source = file.map_or_else(|| "the environment".to_owned(), |file| file.display().to_string());
    let mut checks = vec![Check::ok("settings", format!("{source} and the defaults are good"))];
    checks.extend(warnings.iter().map(|warning| Check::told("settings", Verdict::Warn, warning)));
    let running = Running::find(&config.data_dir);
    checks.push(match &running {
        Some(running) => {
            Check::ok("gateway", format!("version {} runs on this data directory", running.version()))
        }
        None => Check::ok("gateway", "none runs on this data directory"),
    });
    checks.extend(reach::ports(&config, running.as_ref()));
    checks.extend(machine::data(&config));
    checks.extend(machine::disk(&config.data_dir));
    checks.push(machine::open_files(config.connections_max, config.relays_max));
    checks.extend(machine::kernel(Path::new("/proc/sys"), config.connections_max));
    checks.extend(machine::clock(&config.data_dir));
    checks.extend(reach::certificate(&config));
    checks.extend(reach::public_urls(&config));
    checks.push(reach::outbound(&config));
    Report::new(checks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_what_was_seen_and_what_to_do() {
        let checks = vec![
            Check::ok("ports", "all are free"),
            Check::told("data", Verdict::Warn, "others may write; take that away with `chmod 700`"),
            Check::error("a long name", "it is\nbroken"),
        ];
        let report = Report::new(checks);
        assert!(!report.ok);
        assert_eq!((report.count(Verdict::Fail), report.count(Verdict::Warn)), (1, 1));
        let expected = "ok    ports        all are free\n\
                        warn  data         others may write; take that away with `chmod 700`\n\
                        FAIL  a long name  it is broken\n";
        assert_eq!(report.text(), expected);
        assert_eq!(serde_json::to_value(&report).unwrap()["checks"][1]["verdict"], "warn");
    }
}
