//! The findings, as text or as JSON.

use serde_json::{Value, json};

use crate::{
    error::{CliError, Result, Status},
    output::{Output, counted},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    Ok,
    Warning,
    Problem,
}

impl Severity {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

struct Finding {
    severity: Severity,
    /// The subject of the check: `index`, `clock`.
    about: &'static str,
    found: String,
    /// Advice.
    advice: Option<String>,
}

#[derive(Default)]
pub(super) struct Report(Vec<Finding>);

impl Report {
    pub(super) fn ok(&mut self, about: &'static str, found: impl Into<String>) {
        self.0.push(Finding { severity: Severity::Ok, about, found: found.into(), advice: None });
    }

    /// Something that is right, with advice.
    pub(super) fn note(&mut self, about: &'static str, found: impl Into<String>, advice: impl Into<String>) {
        self.add(Severity::Ok, about, found, advice);
    }

    pub(super) fn warning(
        &mut self,
        about: &'static str,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.add(Severity::Warning, about, found, advice);
    }

    pub(super) fn problem(
        &mut self,
        about: &'static str,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.add(Severity::Problem, about, found, advice);
    }

    pub(super) fn add(
        &mut self,
        severity: Severity,
        about: &'static str,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.0.push(Finding { severity, about, found: found.into(), advice: Some(advice.into()) });
    }

    /// A check that failed is a finding too, and the others go on.
    pub(super) fn note_failure(&mut self, about: &'static str, checked: Result<()>) -> Result<()> {
        match checked {
            Err(CliError::Failed(why)) => {
                self.warning(
                    about,
                    format!("could not be checked: {why}"),
                    "see the message of the database",
                );
                Ok(())
            }
            other => other,
        }
    }

    /// The first finding, as a test compares it.
    #[cfg(test)]
    pub(super) fn first(&self) -> String {
        let finding = &self.0[0];
        format!("{}: {}", finding.severity.name(), finding.found)
    }

    fn number(&self, severity: Severity) -> u64 {
        self.0.iter().filter(|finding| finding.severity == severity).count() as u64
    }

    pub(super) fn print(&self, as_json: bool, out: &mut Output) -> Result {
        let (problems, warnings) = (self.number(Severity::Problem), self.number(Severity::Warning));
        if as_json {
            let findings = self.0.iter().map(|Finding { severity, about, found, advice }| {
                json!({"level": severity.name(), "about": about, "found": found, "advice": advice})
            });
            let findings: Vec<Value> = findings.collect();
            out.line(json!({"problems": problems, "warnings": warnings, "findings": findings}))?;
        } else {
            for Finding { severity, about, found, advice } in &self.0 {
                out.line(format_args!("{:<8} {about:<11} {found}", severity.name()))?;
                if let Some(advice) = advice {
                    out.line(format_args!("{:20} → {advice}", ""))?;
                }
            }
            out.line(format_args!("\n{}, {}", counted(problems, "problem"), counted(warnings, "warning")))?;
        }
        Ok(if problems == 0 { Status::Success } else { Status::Problems })
    }
}
