//! The report as a page.

use super::Report;

/// A page.
pub(in super::super) fn render(report: &Report) -> String {
    format!("<!DOCTYPE html><pre>{}</pre>", super::table::render(report))
}
