use serde::{Deserialize, Serialize};

/// The advice in a summary if only root has access.
pub const USE_SUDO: &str = "use sudo";
const COMMAND: &str = "pixeldctl doctor";

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FindingState {
    /// No problem.
    Ok,
    /// Costs requests under load, or after the next boot.
    Warning,
    /// Costs requests now, or exposes pixeld.
    Problem,
    /// The check could not be made.
    Skipped,
}

/// A finding of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The name of the check, the same for each of its findings.
    pub check: String,
    pub state: FindingState,
    /// The finding in one clause; the reason of a skipped check.
    pub summary: String,
    /// The values that were read, with their source; may be empty.
    pub evidence: String,
    /// Commands, in this order. Lines that begin with # are instructions.
    #[serde(alias = "mend")]
    pub fix: Vec<String>,
}

/// The report about one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Whether no finding is a warning or a problem.
    pub ok: bool,
    /// The findings of each check, at least one.
    pub findings: Vec<Finding>,
}

impl Finding {
    pub fn ok(summary: impl Into<String>) -> Self {
        Self::new(FindingState::Ok, summary)
    }

    pub fn warning(summary: impl Into<String>) -> Self {
        Self::new(FindingState::Warning, summary)
    }

    pub fn problem(summary: impl Into<String>) -> Self {
        Self::new(FindingState::Problem, summary)
    }

    pub fn skipped(reason: impl Into<String>) -> Self {
        Self::new(FindingState::Skipped, reason)
    }

    fn new(state: FindingState, summary: impl Into<String>) -> Self {
        let (check, evidence, fix) = (String::new(), String::new(), Vec::new());
        Self { check, state, summary: summary.into(), evidence, fix }
    }

    #[must_use]
    pub fn evidence(mut self, evidence: impl Into<String>) -> Self {
        self.evidence = evidence.into();
        self
    }

    /// Adds a line to the fix.
    #[must_use]
    pub fn fix(mut self, line: impl Into<String>) -> Self {
        self.fix.push(line.into());
        self
    }

    /// Whether the operator has to act.
    pub fn is_wrong(&self) -> bool {
        matches!(self.state, FindingState::Warning | FindingState::Problem)
    }
}

impl Report {
    pub fn new(findings: Vec<Finding>) -> Self {
        Self { ok: !findings.iter().any(Finding::is_wrong), findings }
    }

    /// Adapts the advice of another host's report: sudo does not work over -H.
    #[must_use]
    pub fn seen_from_afar(mut self, host: &str) -> Self {
        for finding in self.findings.iter_mut().filter(|finding| finding.state == FindingState::Skipped) {
            let there = format!("log in as root, or run `sudo {COMMAND}` on {host}");
            finding.summary = finding.summary.replacen(USE_SUDO, &there, 1);
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
}
