//! Mutants: mistakes that somebody could make in the engine, and that the simulation must find.
//!
//! Each file in `tests/simulation/mutants/` says what the mistake is, where, and how the source
//! reads before and after; of what is there, only what stands between « and », if anything does, is
//! replaced. All of them are made in one copy of the sources, each behind a switch: `if
//! crate::mutant(17) { after } else { before }`. So it is built once, and the core alone, without
//! the command; and each mistake costs no more than the worlds it takes to find it. If one is no
//! longer found, the simulation has lost an eye.
//!
//! `ENCKE_MUTANT=NAME` plays only those whose name contains it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// What the simulation is built from.
const PARTS: [&str; 5] = ["Cargo.lock", "src", "static", "tests/common", "tests/simulation"];

/// Worlds in which a mistake must show: as many as `make test` plays.
const SEEDS: &str = "5000";

/// Worlds that must be right without any.
const SEEDS_UNCHANGED: &str = "100";

/// The sections of the manifest that the core does not need.
const UNNEEDED: [&str; 2] = ["[[bench]]", "[dev-dependencies]"];

/// How a switch is asked whether it is on.
const SWITCH: &str = "
/// Whether this mistake is to be made.
#[doc(hidden)]
pub fn mutant(number: u32) -> bool {
    static MADE: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    let read = || std::env::var(\"ENCKE_MADE\").ok().and_then(|number| number.parse().ok()).unwrap_or(0);
    *MADE.get_or_init(read) == number
}
";

/// A mistake.
struct Mutant {
    number: u32,
    name: String,
    file: String,
    /// What stands around it, so that it is found.
    around: (String, String),
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
        let number = name.split('-').next().and_then(|number| number.parse().ok());
        let number = number.unwrap_or_else(|| panic!("{name}: expected a number in front"));
        let marked = before.split_once('«').and_then(|(front, rest)| Some((front, rest.split_once('»')?)));
        let (front, (before, back)) = marked.unwrap_or(("", (before, "")));
        let around = (front.to_owned(), back.to_owned());
        let after = after.strip_suffix('\n').unwrap_or(after);
        Mutant {
            number,
            name,
            file: file.to_owned(),
            around,
            before: before.to_owned(),
            after: after.to_owned(),
        }
    }

    /// Where in the file it is made.
    fn place(&self, source: &str) -> usize {
        let (front, back) = &self.around;
        let text = [front, &self.before, back].map(String::as_str).concat();
        let found: Vec<usize> = source.match_indices(&text).map(|(at, _)| at + front.len()).collect();
        let [at] = found[..] else {
            panic!(
                "{}: its place is in {} {} times, expected once; the source has changed, so write it anew",
                self.name,
                self.file,
                found.len()
            );
        };
        at
    }

    /// What stands in its place: statements in a block each, or an expression.
    fn switched(&self) -> String {
        let Mutant { number, before, after, .. } = self;
        let is_statement = [before, after].iter().all(|text| {
            let text = text.trim_end();
            text.is_empty() || text.ends_with([';', '}'])
        });
        let switched = format!("if crate::mutant({number}) {{ {after} }} else {{ {before} }}");
        if is_statement { switched } else { format!("({switched})") }
    }
}

fn home() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn tree() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("mutants")
}

/// Copies what has changed, so that what has not is not built again.
fn copy(from: &Path, to: &Path) {
    if !from.is_dir() {
        write(to, &fs::read(from).expect("sources can be read"));
        return;
    }
    for entry in fs::read_dir(from).expect("a folder can be listed") {
        let name = entry.expect("a folder can be listed").file_name();
        copy(&from.join(&name), &to.join(&name));
    }
}

fn write(path: &Path, bytes: &[u8]) {
    if fs::read(path).is_ok_and(|there| there == bytes) {
        return;
    }
    fs::create_dir_all(path.parent().expect("it lies somewhere")).expect("the target directory is ours");
    fs::write(path, bytes).expect("the target directory is ours");
}

/// The manifest of the core: nothing that only the command, its tests or the benches need.
fn manifest() -> String {
    let text = fs::read_to_string(home().join("Cargo.toml")).expect("the manifest is there");
    let mut is_needed = true;
    let lines = text.lines().filter(|line| {
        if line.starts_with('[') {
            is_needed = !UNNEEDED.contains(line);
        }
        is_needed
    });
    lines.map(|line| format!("{line}\n")).collect()
}

/// Copies the sources and makes all mistakes in them.
fn make(mutants: &[Mutant]) {
    for part in PARTS.iter().filter(|part| **part != "src") {
        copy(&home().join(part), &tree().join(part));
    }
    write(&tree().join("Cargo.toml"), manifest().as_bytes());
    let mut files = Vec::new();
    list(&home().join("src"), &mut files);
    for path in files {
        let file = path.strip_prefix(home()).expect("it is in there").to_string_lossy().into_owned();
        let mut source = fs::read_to_string(&path).unwrap_or_default();
        if source.is_empty() {
            copy(&path, &tree().join(&file));
            continue;
        }
        let mut places: Vec<(usize, &Mutant)> = mutants
            .iter()
            .filter(|mutant| mutant.file == file)
            .map(|mutant| (mutant.place(&source), mutant))
            .collect();
        places.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        for pair in places.windows(2) {
            let [(behind, one), (at, other)] = pair else { unreachable!("windows of two") };
            assert!(at + other.before.len() <= *behind, "{} and {} overlap", one.name, other.name);
        }
        for (at, mutant) in places {
            source.replace_range(at..at + mutant.before.len(), &mutant.switched());
        }
        if file == "src/lib.rs" {
            source.push_str(SWITCH);
        }
        write(&tree().join(&file), source.as_bytes());
    }
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder can be listed") {
        let path = entry.expect("a folder can be listed").path();
        if path.is_dir() { list(&path, files) } else { files.push(path) }
    }
}

/// Builds the simulation of the copy. Returns where it is.
fn build() -> PathBuf {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let built = Command::new(cargo)
        .current_dir(tree())
        .args(["test", "--no-default-features", "--profile", "soak", "--test", "simulation", "--no-run"])
        .args(["--target-dir", "build", "--message-format", "json-render-diagnostics"])
        .output()
        .expect("cargo can be run");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let messages = String::from_utf8_lossy(&built.stdout).into_owned();
    let mut executables = messages.lines().rev().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        message["executable"].as_str().map(PathBuf::from)
    });
    executables.next().expect("cargo says what it has built")
}

/// Plays so many worlds with a mistake in them. Returns what was wrong in the first that was.
fn play(simulation: &Path, number: u32, seeds: &str) -> Option<String> {
    let output = Command::new(simulation)
        .args(["in_every_world", "--nocapture"])
        .env_remove("ENCKE_SEED")
        .env_remove("ENCKE_FIRST")
        .env("ENCKE_MADE", number.to_string())
        .env("ENCKE_SEEDS", seeds)
        .env("ENCKE_BRIEF", "1")
        .output()
        .expect("the simulation can be run");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = said.lines().find(|line| line.starts_with("in world ")).map(str::to_owned);
    assert!(output.status.success() || line.is_some(), "{said}");
    line
}

#[test]
fn each_mistake_is_found() {
    let folder = home().join("tests/simulation/mutants");
    let mut mutants: Vec<Mutant> = fs::read_dir(folder)
        .expect("the mutants are there")
        .map(|entry| Mutant::read(&entry.expect("a folder can be listed").path()))
        .collect();
    mutants.sort_by(|one, other| one.name.cmp(&other.name));
    assert!(mutants.len() >= 40, "only {} mutants", mutants.len());
    make(&mutants);
    let simulation = build();
    if let Some(wrong) = play(&simulation, 0, SEEDS_UNCHANGED) {
        panic!("without any mistake: {wrong}");
    }
    let only = std::env::var("ENCKE_MUTANT").unwrap_or_default();
    mutants.retain(|mutant| mutant.name.contains(&only));
    let (next, at_large) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(mutant) = mutants.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match play(&simulation, mutant.number, SEEDS) {
                        Some(line) => println!("{}: {line}", mutant.name),
                        None => {
                            println!("{}: not found", mutant.name);
                            at_large.lock().expect("nobody panics with it").push(mutant.name.clone());
                        }
                    }
                }
            });
        }
    });
    let at_large = at_large.into_inner().expect("nobody panics with it");
    assert!(at_large.is_empty(), "the simulation did not find {at_large:?}");
}
