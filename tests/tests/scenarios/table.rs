//! `tests/scenarios.md` says the truth.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// Every name of a test in the sources below a directory.
fn functions(directory: &Path, found: &mut BTreeSet<String>) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            functions(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            take(&fs::read_to_string(path)?, found);
        }
    }
    Ok(())
}

/// Functions, and tests that a macro makes: `name:`, `name,` and `name(` at the beginning of a line.
fn take(source: &str, found: &mut BTreeSet<String>) {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for line in source.lines() {
        let line = line
            .split_once("fn ")
            .map_or(line.trim_start(), |(_, name)| name);
        let name: String = line.chars().take_while(|c| is_name(*c)).collect();
        if line[name.len()..].starts_with(['(', ':', ',', ';']) {
            found.insert(name);
        }
    }
}

#[test]
fn every_row_is_there_and_every_test_that_is_named_exists() -> Result<()> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = fs::read_to_string(own.join("scenarios.md"))?;
    let mut found = BTreeSet::new();
    functions(&own.join("tests"), &mut found)?;
    functions(&own.join("../crates"), &mut found)?;
    let rows: Vec<&str> = table
        .lines()
        .filter(|line| line.starts_with("| "))
        .skip(1)
        .collect();
    for (number, row) in (1..).zip(&rows) {
        ensure!(
            row.starts_with(&format!("| {number} |")),
            "row {number} is {row}"
        );
        let cells: Vec<&str> = row.split('|').collect();
        let cell = cells.get(3).context("the column of tests")?;
        let named: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
        let tests = named.iter().filter(|name| name.contains('_'));
        for test in tests.clone() {
            ensure!(
                found.contains(*test),
                "row {number}: there is no test {test}"
            );
        }
        ensure!(
            tests.count() > 0 || cell.contains("later, issue"),
            "row {number} has nothing"
        );
    }
    ensure!(rows.len() == 59, "{} rows", rows.len());
    Ok(())
}
