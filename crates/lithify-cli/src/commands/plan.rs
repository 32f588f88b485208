//! `--dry-run`: plans as people read them.

use std::io::Write as _;

use lithify::{PartKind, PartState, PlanReport, Printable};

use super::print_json;
use crate::failure::Failure;
use crate::human;

/// Prints a plan: a line for each part, and what they come to.
pub(crate) fn print(report: &PlanReport, json: bool, quiet: bool) -> Result<(), Failure> {
    if json {
        return print_json(report);
    }
    let mut out = crate::terminal::stdout();
    for part in &report.parts {
        let state = match part.state {
            PartState::Move => "get",
            other => other.name(),
        };
        let name = part.digest.as_deref().or(part.diff_id.as_deref());
        let name = name.or(part.media_type.as_deref()).unwrap_or("-");
        let size = part.size.map_or_else(|| "-".to_owned(), human::bytes);
        let kind: PartKind = part.kind;
        writeln!(
            out,
            "{state:<5}  {:<10}  {size:>9}  {}",
            kind.name(),
            Printable(name)
        )?;
    }
    if !quiet {
        let mut line = format!(
            "{}: {} to get ({}), {} there already ({})",
            report.destination,
            report.moved,
            human::bytes(report.moved_bytes),
            report.there,
            human::bytes(report.there_bytes),
        );
        if report.made > 0 {
            line.push_str(&format!(", {} to make", report.made));
        }
        if report.foreign > 0 {
            line.push_str(&format!(", {} left to their vendor", report.foreign));
        }
        writeln!(out, "{}", Printable(&line))?;
    }
    Ok(())
}
