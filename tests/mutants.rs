//! Mutants: mistakes that somebody could make in the engine, and that the simulation must find.
//!
//! Each file in `tests/simulation/mutants/` says what the mistake is, where, and how the source reads before and
//! after. The sources are copied, the mistake is made in the copy, and the simulation is built and run there. If one is no longer
//! found, the simulation has lost an eye.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What the simulation is built from.
const PARTS: [&str; 7] =
    ["Cargo.toml", "Cargo.lock", "src", "static", "benches", "tests/common", "tests/simulation"];

/// Worlds in which a mistake must show.
const SEEDS: &str = "1500";

/// A mistake.
struct Mutant {
    name: String,
    file: String,
    before: String,
    after: String,
}

impl Mutant {
    fn read(path: &Path) -> Self {
        let name = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
        let text = fs::read_to_string(path).expect("a mutant is text");
        let parts = text
            .split_once("\n--- ")
            .and_then(|(_, rest)| rest.split_once('\n'))
            .and_then(|(file, rest)| Some((file, rest.split_once("\n+++\n")?)));
        let (file, (before, after)) = parts.unwrap_or_else(|| {
            panic!("{name}: expected a sentence, `--- FILE`, what is there, `+++`, and what is to be there")
        });
        let after = after.strip_suffix('\n').unwrap_or(after);
        Mutant { name, file: file.to_owned(), before: before.to_owned(), after: after.to_owned() }
    }

    /// The file with the mistake in it.
    fn made_in(&self, source: &str) -> String {
        let found = source.matches(&self.before).count();
        assert_eq!(
            found, 1,
            "{}: its place is in {} {found} times, expected once; the source has changed, so write the mutant anew",
            self.name, self.file
        );
        source.replacen(&self.before, &self.after, 1)
    }
}

fn home() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn tree() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("mutants")
}

fn copy(from: &Path, to: &Path) {
    if !from.is_dir() {
        fs::create_dir_all(to.parent().expect("it lies somewhere")).expect("the target directory is ours");
        fs::copy(from, to).expect("sources can be copied");
        return;
    }
    for entry in fs::read_dir(from).expect("a folder can be listed") {
        let name = entry.expect("a folder can be listed").file_name();
        copy(&from.join(&name), &to.join(&name));
    }
}

/// Builds the simulation of the copy and runs it.
fn simulate(seeds: &str) -> Output {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    Command::new(cargo)
        .current_dir(tree())
        .args(["test", "--locked", "--test", "simulation", "--target-dir", "build", "--", "in_every_world"])
        .env_remove("ENCKE_SEED")
        .env_remove("ENCKE_FIRST")
        .env("ENCKE_SEEDS", seeds)
        .env("ENCKE_BRIEF", "1")
        .output()
        .expect("cargo can be run")
}

#[test]
fn each_mistake_is_found() {
    for part in PARTS {
        copy(&home().join(part), &tree().join(part));
    }
    let unchanged = simulate("50");
    assert!(unchanged.status.success(), "{}", String::from_utf8_lossy(&unchanged.stderr));
    let folder = home().join("tests/simulation/mutants");
    let mut mutants: Vec<Mutant> = fs::read_dir(folder)
        .expect("the mutants are there")
        .map(|entry| Mutant::read(&entry.expect("a folder can be listed").path()))
        .collect();
    mutants.sort_by(|one, other| one.name.cmp(&other.name));
    assert!(mutants.len() >= 10, "only {} mutants", mutants.len());
    let mut at_large = Vec::new();
    for mutant in mutants {
        let source = fs::read_to_string(home().join(&mutant.file)).expect("its file is there");
        fs::write(tree().join(&mutant.file), mutant.made_in(&source)).expect("the copy is ours");
        let output = simulate(SEEDS);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        match said.lines().find(|line| line.starts_with("in world ")) {
            Some(line) => println!("{}: {line}", mutant.name),
            None => {
                println!("{}: not found\n{}", mutant.name, String::from_utf8_lossy(&output.stderr));
                at_large.push(mutant.name);
            }
        }
        fs::write(tree().join(&mutant.file), source).expect("the copy is ours");
    }
    assert!(at_large.is_empty(), "the simulation did not find {at_large:?}");
}
