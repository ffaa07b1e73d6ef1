use pixeld_control::sanitize::{escape, lines};

use super::finding::{Finding, FindingState, Report};
use crate::render::{BAD, DIM, GOOD, ODD, styled, wrapped};

/// The column of the text of a finding.
const INDENT: usize = 21;

/// Returns a line for each finding, with evidence and fix below warnings and problems. Sanitizes the texts, which quote
/// programs and files, or come from another host.
pub fn show(report: &Report) -> String {
    let mut text: String = report.findings.iter().map(one).collect();
    text.push('\n');
    text += &sum(report);
    text
}

fn one(finding: &Finding) -> String {
    let (mark, style) = match finding.state {
        FindingState::Ok => ("ok", GOOD),
        FindingState::Warning => ("warning", ODD),
        FindingState::Problem => ("problem", BAD),
        FindingState::Skipped => ("skipped", DIM),
    };
    let mark = styled(style, format_args!("{mark:<7}"));
    let mut text = format!("{mark}  {:<10}  {}\n", escape(&finding.check), wrap(&finding.summary));
    if finding.is_wrong() {
        if !finding.evidence.is_empty() {
            text += &format!("{:>19}  {}\n", "evidence:", wrap(&finding.evidence));
        }
        // Not wrapped, so that it can be pasted.
        let fix = finding.fix.iter().map(|line| format!("{:>19}  {}\n", "fix:", escape(line)));
        text += &fix.collect::<String>();
    }
    text
}

fn sum(report: &Report) -> String {
    let count = |state| report.findings.iter().filter(|finding| finding.state == state).count();
    let counted = |count: usize, name: &str| match count {
        0 => None,
        1 => Some(format!("1 {name}")),
        count => Some(format!("{count} {name}s")),
    };
    let wrong =
        [counted(count(FindingState::Problem), "problem"), counted(count(FindingState::Warning), "warning")];
    let wrong: Vec<_> = wrong.into_iter().flatten().collect();
    let wrong = if wrong.is_empty() { "No problems found".into() } else { wrong.join(", ") };
    let skipped = counted(count(FindingState::Skipped), "check");
    let skipped = skipped.map_or_else(String::new, |checks| format!("; {checks} skipped"));
    format!("{wrong}{skipped}.\n")
}

fn wrap(text: &str) -> String {
    wrapped(lines(text).split_whitespace(), " ", INDENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(finding: Finding) -> Finding {
        Finding { check: "sockets".into(), ..finding }
    }

    #[test]
    fn problems_have_a_fix_and_the_rest_one_line() {
        let report = Report::new(vec![
            named(Finding::ok("fine").evidence("not shown")),
            named(Finding::problem("broken").evidence("seen").fix("run this").fix("and that")),
            named(Finding::skipped("dark")),
        ]);
        let expected = "\
ok       sockets     fine
problem  sockets     broken
          evidence:  seen
               fix:  run this
               fix:  and that
skipped  sockets     dark

1 problem; 1 check skipped.
";
        assert_eq!(anstream::adapter::strip_str(&show(&report)).to_string(), expected);
        assert!(show(&report).contains(&styled(BAD, "problem")));
    }

    #[test]
    fn summary_counts_findings_by_state() {
        let (good, warning, skipped) = (Finding::ok("a"), Finding::warning("b"), Finding::skipped("c"));
        for (findings, expected) in [
            (vec![good.clone()], "No problems found.\n"),
            (vec![good, skipped.clone()], "No problems found; 1 check skipped.\n"),
            (vec![warning, skipped.clone(), skipped], "1 warning; 2 checks skipped.\n"),
        ] {
            assert_eq!(sum(&Report::new(findings)), expected);
        }
    }

    #[test]
    fn prose_is_wrapped_and_commands_are_not() {
        let (long, command) = ("word ".repeat(40), "c".repeat(100));
        let finding = named(Finding::warning(long.clone()).evidence(long).fix(command.clone()));
        let text = show(&Report::new(vec![finding]));
        let text = anstream::adapter::strip_str(&text).to_string();
        assert!(text.contains(&command));
        let rest = text.lines().filter(|line| !line.contains(&command));
        assert!(rest.map(|line| line.chars().count()).max() == Some(80), "{text}");
    }
}
