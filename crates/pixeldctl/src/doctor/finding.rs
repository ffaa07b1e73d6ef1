use pixeld_control::sanitize;
use serde::{Deserialize, Serialize};

/// What to do where only root may look, as a summary has it.
pub const USE_SUDO: &str = "use sudo";
/// What sudo would run.
const COMMAND: &str = "pixeldctl doctor";

/// What a check has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FindingState {
    /// It was looked at, and nothing is wrong.
    Ok,
    /// It will cost requests under load, or after the next boot.
    Warning,
    /// It costs requests, or lets in whom it should not.
    Problem,
    /// It could not be looked at, so nobody knows.
    Skipped,
}

/// One thing that a check has to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The name of the check, the same for each of its findings.
    pub check: String,
    pub state: FindingState,
    /// What is so, in one sentence; for what was skipped, why.
    pub summary: String,
    /// What was read, and where; empty when the summary says it all.
    pub evidence: String,
    /// What to run, in this order. Lines that begin with # say what to edit before.
    #[serde(alias = "mend")]
    pub fix: Vec<String>,
}

/// Everything that `pixeldctl doctor` has to say about one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Whether no finding is a warning or a problem.
    pub ok: bool,
    /// The findings of each check, at least one.
    pub findings: Vec<Finding>,
}

impl Finding {
    /// All is well.
    pub fn ok(summary: impl Into<String>) -> Self {
        Self::new(FindingState::Ok, summary)
    }

    /// It will cost something.
    pub fn warning(summary: impl Into<String>) -> Self {
        Self::new(FindingState::Warning, summary)
    }

    /// It costs something.
    pub fn problem(summary: impl Into<String>) -> Self {
        Self::new(FindingState::Problem, summary)
    }

    /// It was not looked at.
    pub fn skipped(reason: impl Into<String>) -> Self {
        Self::new(FindingState::Skipped, reason)
    }

    fn new(state: FindingState, summary: impl Into<String>) -> Self {
        let (check, evidence, fix) = (String::new(), String::new(), Vec::new());
        Self { check, state, summary: summary.into(), evidence, fix }
    }

    /// With what was read.
    #[must_use]
    pub fn evidence(mut self, evidence: impl Into<String>) -> Self {
        self.evidence = evidence.into();
        self
    }

    /// With one more line of what to run.
    #[must_use]
    pub fn fix(mut self, line: impl Into<String>) -> Self {
        self.fix.push(line.into());
        self
    }

    /// Whether something has to be done about it.
    pub fn is_wrong(&self) -> bool {
        matches!(self.state, FindingState::Warning | FindingState::Problem)
    }
}

impl Report {
    /// The findings, and what they amount to.
    pub fn new(findings: Vec<Finding>) -> Self {
        Self { ok: !findings.iter().any(Finding::is_wrong), findings }
    }

    /// As a report of another host, where sudo cannot be put before this command.
    #[must_use]
    pub fn seen_from_afar(mut self, host: &str) -> Self {
        for finding in self.findings.iter_mut().filter(|finding| finding.state == FindingState::Skipped) {
            let there = format!("log in as root, or run `sudo {COMMAND}` on {host}");
            finding.summary = finding.summary.replacen(USE_SUDO, &there, 1);
        }
        self
    }

    /// With texts that a terminal may show: they quote programs and files of this host, or come from
    /// another one.
    #[must_use]
    pub fn sanitized(mut self) -> Self {
        for Finding { check, state: _, summary, evidence, fix } in &mut self.findings {
            for text in [check].into_iter().chain(fix) {
                *text = sanitize::escape(text);
            }
            // These are broken into lines where they are shown, wherever they have one.
            for text in [summary, evidence] {
                *text = sanitize::lines(text);
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipped_check_is_no_failure_but_warning_is() {
        assert!(Report::new(vec![Finding::ok("a"), Finding::skipped("b")]).ok);
        assert!(!Report::new(vec![Finding::ok("a"), Finding::warning("b")]).ok);
        assert!(!Report::new(vec![Finding::problem("b")]).ok);
    }

    #[test]
    fn report_survives_a_round_trip() {
        let report = Report::new(vec![Finding::problem("a").evidence("b").fix("c")]);
        let text = serde_json::to_string(&report).unwrap();
        assert!(text.contains(r#""ok":false"#) && text.contains(r#""state":"problem""#), "{text}");
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }
}
