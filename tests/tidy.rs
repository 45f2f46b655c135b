//! The rules of the house, as far as a program can check them.
//!
//! Each test is one rule. It does not stop at the first place that breaks its rule but lists
//! them all: file, what was found, what is expected. Sources are read as tokens, not as text,
//! so a comment or a string can neither break a rule nor hide from one.
//!
//! Knows: the files of this repository. Never learns what the program does.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Which room may name which. Arrows point down only:
/// `shell -> engine -> {dialect, hub} -> transport -> {log, wire} -> kit`.
///
/// A room with a path behind it is a door that is open for this one name and nothing else.
/// `config` is values and no room: whoever is bounded by a limit may know it.
const ARROWS: &[(&str, &[&str])] = &[
    ("main", &["bench", "config", "shell"]),
    // A load generator knows servers by their sockets alone, ours too.
    ("bench", &["wire", "kit"]),
    ("shell", &["config", "engine", "dialect", "log", "wire", "kit"]),
    ("engine", &["config", "dialect", "hub", "transport", "log", "wire", "kit"]),
    ("dialect", &["transport", "log", "wire", "kit"]),
    // A hub reads no bytes: what was published, and why not, is all it knows of the wire.
    ("hub", &["config", "transport", "log", "wire::json::Publication", "wire::refusal", "kit"]),
    ("transport", &["log", "wire", "kit"]),
    ("log", &["kit"]),
    ("wire", &["kit"]),
    ("config", &["kit"]),
    ("kit", &[]),
];

/// Lines of code in a file: those with at least one token. Comments and blank lines are free,
/// and so is an inline test module, because tests are better beside what they test.
const FILE_LINES_MAX: usize = 600;

/// Lines of a function from `fn` to its closing brace, whatever is on them: what has to fit a screen.
const FUNCTION_LINES_MAX: usize = 60;

/// A file with fewer lines of code is understood at a glance: its card need not say what it knows.
const CARD_LINES_MIN: usize = 100;

/// What stands in `src/transport` and is no framing of its own.
const NO_FRAMINGS: &[&str] = &["mod", "batch", "envelope"];

// --- Rooms --------------------------------------------------------------------------------------

#[test]
fn arrows_between_rooms_point_down() {
    let mut offences = Vec::new();
    for source in sources("src") {
        let room = source.room();
        if room == "lib" {
            continue;
        }
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == room) else {
            offences.push(format!(
                "{}: a room called {room}, which is not in ARROWS (tests/tidy.rs)",
                source.path
            ));
            continue;
        };
        for named in source.names_in_other_rooms() {
            let is_open = |door: &&str| named == *door || named.starts_with(&format!("{door}::"));
            if !is_open(&room) && !allowed.iter().any(is_open) {
                let doors = if allowed.is_empty() { "no other room".into() } else { allowed.join(", ") };
                offences.push(format!("{}: names crate::{named}; {room} may name {doors}", source.path));
            }
        }
    }
    expect_none("arrows between rooms point down (docs/architecture.md)", offences);
}

#[test]
fn no_arrow_is_hidden_behind_super() {
    let mut offences = Vec::new();
    for source in sources("src") {
        for four in flat(&source.tokens).windows(4) {
            let [step, first, second, name] = [0, 1, 2, 3].map(|at| four[at].to_string());
            let is_room = ARROWS.iter().any(|(room, _)| *room == name);
            if step == "super" && first == ":" && second == ":" && is_room {
                offences.push(format!("{}: names super::{name}; write crate::{name}", source.path));
            }
        }
    }
    expect_none("another room is named by its full path", offences);
}

#[test]
fn only_the_shell_may_look_at_a_clock() {
    let looks = |source: &Source| {
        source.room() != "shell"
            && flat(&source.tokens).iter().any(|token| token.to_string() == "disallowed_methods")
    };
    let offences = sources("src").into_iter().filter(looks).map(|source| {
        format!("{}: allows clippy::disallowed_methods; expected only in src/shell", source.path)
    });
    expect_none("time is handed in (clippy.toml)", offences.collect());
}

#[test]
fn keys_from_the_wire_have_a_hash_that_nobody_can_foresee() {
    // Names come from strangers. Whoever can foresee where a table puts them can put all into one place. The
    // standard maps are safe by themselves; only who names a hasher can take that away.
    const NAMES: &[&str] = &[
        "BuildHasher",
        "BuildHasherDefault",
        "DefaultHasher",
        "SipHasher",
        "with_hasher",
        "with_capacity_and_hasher",
        "FxHashMap",
        "FxHashSet",
        "AHashMap",
        "AHashSet",
        "IndexMap",
        "hashbrown",
        "foldhash",
    ];
    // The version of a page: its content is the operator's, and no key.
    const PAGES: (&str, &str) = ("src/dialect/pages.rs", "DefaultHasher");
    let mut offences = Vec::new();
    for source in sources("src") {
        for token in flat(&source.tokens) {
            let name = token.to_string();
            if NAMES.contains(&name.as_str()) && (source.path.as_str(), name.as_str()) != PAGES {
                offences.push(format!("{}: names {name}; use the standard HashMap as it is", source.path));
            }
        }
    }
    expect_none("keys from the wire are hashed with RandomState (docs/security.md)", offences);
}

// --- Files --------------------------------------------------------------------------------------

#[test]
fn files_are_short() {
    let offences = all_sources().into_iter().filter_map(|source| {
        let lines = source.code_lines();
        (lines > FILE_LINES_MAX)
            .then(|| format!("{}: {lines} lines of code; at most {FILE_LINES_MAX}", source.path))
    });
    expect_none("a file is short enough to be read in one go", offences.collect());
}

#[test]
fn functions_fit_a_screen() {
    let mut offences = Vec::new();
    for source in all_sources() {
        for (name, lines) in source.functions() {
            if lines > FUNCTION_LINES_MAX {
                offences.push(format!(
                    "{}: fn {name} has {lines} lines; at most {FUNCTION_LINES_MAX}",
                    source.path
                ));
            }
        }
    }
    expect_none("a function fits a screen", offences);
}

#[test]
fn every_file_opens_with_a_card() {
    let sources = sources("src");
    let tests: BTreeSet<String> = sources.iter().flat_map(Source::test_files).collect();
    let mut offences = Vec::new();
    for source in sources {
        let card: Vec<&str> = source.text.lines().map_while(|line| line.strip_prefix("//!")).collect();
        if card.first().is_none_or(|line| line.trim().is_empty()) {
            offences.push(format!("{}: its first line is not `//! WHAT IT IS FOR`", source.path));
        }
        let is_test = tests.contains(&source.path) || source.path.contains("/tests/");
        let must_say = source.code_lines() >= CARD_LINES_MIN && !is_test;
        if must_say && !card.iter().any(|line| line.trim().starts_with("Knows: ")) {
            offences.push(format!("{}: its card has no line `Knows: … Never learns …`", source.path));
        }
    }
    expect_none("every file opens with a card", offences);
}

#[test]
fn nothing_is_left_for_later() {
    let later = concat!("FIX", "ME");
    let mut offences = Vec::new();
    for source in all_sources() {
        for pair in flat(&source.tokens).windows(2) {
            let (name, bang) = (pair[0].to_string(), pair[1].to_string());
            if bang == "!" && ["todo", "unimplemented", "dbg"].contains(&name.as_str()) {
                let line = pair[0].span().start().line;
                offences
                    .push(format!("{}: {name}! in line {line}; finish it, or refuse in words", source.path));
            }
        }
        if source.text.contains(later) {
            offences.push(format!("{}: a {later}; mend it, or write an issue", source.path));
        }
    }
    expect_none("nothing is left for later", offences);
}

#[test]
fn every_page_is_part_of_the_program() {
    let table = read("src/dialect/pages.rs");
    let missing = |path: &String| {
        let page = path.strip_prefix("static").expect("listed from there");
        !(table.contains(&format!("(\"{page}\","))
            && table.contains(&format!("include_bytes!(\"../../{path}\")")))
    };
    let offences = files("static").into_iter().filter(missing).map(|path| {
        format!("{path}: not in the table FILES of src/dialect/pages.rs; add it there, or remove the file")
    });
    expect_none("every file in static/ is served", offences.collect());
}

// --- Documents ----------------------------------------------------------------------------------

#[test]
fn every_dependency_has_a_reason() {
    let manifest = read("Cargo.toml") + &read("fuzz/Cargo.toml");
    let mut section = "";
    let mut used = BTreeSet::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line.trim();
        } else if section.ends_with("dependencies]") {
            used.extend(
                line.split_once('=').map(|(name, _)| name.trim()).filter(|name| !name.starts_with('#')),
            );
        }
    }
    // What is fuzzed.
    used.remove("encke");
    let page = read("docs/dependencies.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let explained: BTreeSet<&str> = rows.map(|(name, _)| name).collect();
    let unexplained = used
        .difference(&explained)
        .map(|name| format!("Cargo.toml: {name} has no row in docs/dependencies.md; say why it is here"));
    let unused = explained.difference(&used).map(|name| {
        format!("docs/dependencies.md: {name} is explained, but Cargo.toml does not name it; remove the row")
    });
    expect_none("every dependency has a reason", unexplained.chain(unused).collect());
}

#[test]
fn links_lead_somewhere() {
    let mut offences = Vec::new();
    for path in documents() {
        for target in links(&read(&path)) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let file = if file.is_empty() { path.clone() } else { beside(&path, file) };
            if !root().join(&file).exists() {
                offences.push(format!("{path}: links to {target}; {file} does not exist"));
            } else if !anchor.is_empty() && file.ends_with(".md") && !anchors(&read(&file)).contains(anchor) {
                offences.push(format!("{path}: links to {target}; {file} has no such heading"));
            }
        }
    }
    expect_none("links in documents resolve", offences);
}

#[test]
fn documents_name_files_that_exist_and_no_line_numbers() {
    let mut offences = Vec::new();
    for path in documents().into_iter().filter(|path| path != "CHANGELOG.md") {
        let text = read(&path);
        let words = text.split(|c: char| c.is_whitespace() || "`()[]|,;".contains(c));
        for word in words.map(|word| word.trim_end_matches(['.', ':'])) {
            let is_ours = ["src/", "static/", "tests/", "benches/", "docs/", "fuzz/"]
                .iter()
                .any(|room| word.starts_with(room));
            let (file, rest) = word.split_once([':', '#']).unwrap_or((word, ""));
            if is_ours && rest.trim_start_matches('L').parse::<u32>().is_ok() {
                offences.push(format!("{path}: cites {word}; lines move, so name the function"));
            } else if is_ours && !file.contains(['*', '{', '…']) && !root().join(file).exists() {
                offences.push(format!("{path}: names {file}, which does not exist"));
            }
        }
    }
    expect_none("documents are about this house", offences);
}

#[test]
fn pages_for_students_say_where_to_go_on() {
    let pages =
        documents().into_iter().filter(|path| path.starts_with("docs/") && !path.contains("/decisions/"));
    let silent = pages.filter(|path| {
        let text = read(path);
        !["Now read: ", "Try: "].iter().all(|hint| text.lines().any(|line| line.starts_with(hint)))
    });
    let offences =
        silent.map(|path| format!("{path}: has no line `Now read: FILE`, or no line `Try: COMMAND`"));
    expect_none("a page ends in `Now read: FILE` and `Try: COMMAND`", offences.collect());
}

#[test]
fn every_transport_is_shown_at_work() {
    let mut offences = Vec::new();
    for file in files("src/transport") {
        let name = file.trim_start_matches("src/transport/").trim_end_matches(".rs");
        if NO_FRAMINGS.contains(&name) {
            continue;
        }
        let name = name.replace('_', "-");
        for (what, path) in [
            ("a page", format!("docs/transports/{name}.md")),
            ("a golden transcript", format!("tests/transcripts/{name}.txt")),
        ] {
            if !root().join(&path).exists() {
                offences.push(format!("{file}: has not {what}; write {path}"));
            }
        }
        if !read("tests/docs.rs").contains(&format!("play(\"{name}\")")) {
            offences.push(format!("{file}: its transcript is not played in tests/docs.rs"));
        }
    }
    expect_none("every framing has a page and a transcript that is played", offences);
}

// --- Sources ------------------------------------------------------------------------------------

/// A Rust file.
struct Source {
    /// From the root of the repository, with slashes.
    path: String,
    text: String,
    tokens: TokenStream,
}

impl Source {
    fn read(path: String) -> Self {
        let text = read(&path);
        let tokens = text.parse().unwrap_or_else(|error| panic!("{path}: {error}"));
        Source { path, text, tokens }
    }

    /// The folder under `src`, or the file directly in it.
    fn room(&self) -> &str {
        let inside = self.path.strip_prefix("src/").unwrap_or(&self.path);
        inside.split(['/', '.']).next().expect("a split has at least one part")
    }

    /// What follows `crate::`, wherever it stands: `kit::clock::Now`. Groups are taken apart. In the
    /// command, which is a crate of its own, the same behind `encke::`.
    fn names_in_other_rooms(&self) -> BTreeSet<String> {
        let front_door = if self.room() == "main" { "encke" } else { "crate" };
        let mut names = BTreeSet::new();
        each_level(&self.tokens, &mut |level| {
            for (at, token) in level.iter().enumerate() {
                if token.to_string() == front_door {
                    collect_paths(&level[at + 1..], "", &mut names);
                }
            }
        });
        names
    }

    /// Name and length in lines of every function with a body.
    fn functions(&self) -> Vec<(String, usize)> {
        let mut functions = Vec::new();
        each_level(&self.tokens, &mut |level| {
            for (at, token) in level.iter().enumerate() {
                let Some(TokenTree::Ident(name)) = level.get(at + 1) else { continue };
                if token.to_string() != "fn" {
                    continue;
                }
                let mut ahead = level[at..].iter().take_while(|token| token.to_string() != ";");
                if let Some(body) = ahead.find(|token| is_group(token, Delimiter::Brace)) {
                    let lines = body.span().end().line - token.span().start().line + 1;
                    functions.push((name.to_string(), lines));
                }
            }
        });
        functions
    }

    /// How many lines hold code, not counting inline test modules.
    fn code_lines(&self) -> usize {
        let mut lines = BTreeSet::new();
        mark_code(&self.tokens, &mut lines);
        let tests: Vec<_> = test_modules(&self.tokens).into_iter().filter_map(|(_, body)| body).collect();
        lines.retain(|line| !tests.iter().any(|body| body.contains(line)));
        lines.len()
    }

    /// The files that hold this file's test modules.
    fn test_files(&self) -> Vec<String> {
        let (stem, _) = self.path.rsplit_once('.').expect("a source has an extension");
        let folder = stem.strip_suffix("/mod").or(stem.strip_suffix("/lib")).unwrap_or(stem);
        let modules = test_modules(&self.tokens).into_iter().filter(|(_, body)| body.is_none());
        modules.map(|(name, _)| format!("{folder}/{name}.rs")).collect()
    }
}

/// Name and lines of every `#[cfg(test)] mod` at the top of a file; no lines if it is a file of its own.
fn test_modules(tokens: &TokenStream) -> Vec<(String, Option<RangeInclusive<usize>>)> {
    let level: Vec<TokenTree> = tokens.clone().into_iter().collect();
    let mut modules = Vec::new();
    for at in 1..level.len().saturating_sub(3) {
        let is_test = level[at].to_string().replace(' ', "") == "[cfg(test)]";
        if is_test && level[at + 1].to_string() == "mod" {
            let body = is_group(&level[at + 3], Delimiter::Brace)
                .then(|| level[at].span().start().line..=level[at + 3].span().end().line);
            modules.push((level[at + 2].to_string(), body));
        }
    }
    modules
}

/// Adds every line with a token on it. A doc comment, which reads as `#[doc = "…"]`, is none.
fn mark_code(tokens: &TokenStream, lines: &mut BTreeSet<usize>) {
    let level: Vec<TokenTree> = tokens.clone().into_iter().collect();
    let is_doc = |at: usize| match level.get(at) {
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Bracket => {
            group.stream().into_iter().next().is_some_and(|word| word.to_string() == "doc")
        }
        _ => false,
    };
    for (at, token) in level.iter().enumerate() {
        match token {
            TokenTree::Group(_) if is_doc(at) => {}
            TokenTree::Punct(sign) if "#!".contains(sign.as_char()) && (is_doc(at + 1) || is_doc(at + 2)) => {
            }
            TokenTree::Group(group) => {
                lines.extend([group.span_open().start().line, group.span_close().end().line]);
                mark_code(&group.stream(), lines);
            }
            token => lines.extend(token.span().start().line..=token.span().end().line),
        }
    }
}

/// Reads `::a::b` and `::{a, b::c}`, and puts what it says, behind `path`, into `names`.
fn collect_paths(tokens: &[TokenTree], path: &str, names: &mut BTreeSet<String>) {
    match tokens {
        [colon, colons, TokenTree::Ident(name), rest @ ..] if is_colon(colon) && is_colon(colons) => {
            let path = if path.is_empty() { name.to_string() } else { format!("{path}::{name}") };
            collect_paths(rest, &path, names);
        }
        [colon, colons, TokenTree::Group(group), ..] if is_colon(colon) && is_colon(colons) => {
            let members: Vec<TokenTree> = group.stream().into_iter().collect();
            for member in members.split(|token| token.to_string() == ",").filter(|member| !member.is_empty())
            {
                // As if it had stood behind the group's path alone.
                let path =
                    if path.is_empty() { member[0].to_string() } else { format!("{path}::{}", member[0]) };
                collect_paths(&member[1..], &path, names);
            }
        }
        _ if path.is_empty() => {}
        _ => drop(names.insert(path.to_owned())),
    }
}

/// Shows every list of tokens: the file's own, and that in every bracket.
fn each_level(tokens: &TokenStream, look: &mut impl FnMut(&[TokenTree])) {
    let level: Vec<TokenTree> = tokens.clone().into_iter().collect();
    look(&level);
    for token in &level {
        if let TokenTree::Group(group) = token {
            each_level(&group.stream(), look);
        }
    }
}

/// All tokens in the order they are read; brackets left out.
fn flat(tokens: &TokenStream) -> Vec<TokenTree> {
    let inside = |token| match token {
        TokenTree::Group(group) => flat(&group.stream()),
        token => vec![token],
    };
    tokens.clone().into_iter().flat_map(inside).collect()
}

fn is_group(token: &TokenTree, delimiter: Delimiter) -> bool {
    matches!(token, TokenTree::Group(group) if group.delimiter() == delimiter)
}

fn is_colon(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(sign) if sign.as_char() == ':')
}

// --- Documents, read ----------------------------------------------------------------------------

/// Every page that people read on the way through the repository.
fn documents() -> Vec<String> {
    let pages = files("docs").into_iter().filter(|path| path.ends_with(".md"));
    pages.chain(["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(String::from)).collect()
}

/// The lines of a document that are not an example in a fence.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// The targets of `[text](target)`.
fn links(text: &str) -> Vec<String> {
    let mut targets = Vec::new();
    for line in prose(text) {
        // What is between backticks is an example, not a link.
        let spoken: String = line.split('`').step_by(2).collect::<Vec<_>>().join("code");
        let ends = spoken.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        targets.extend(ends.map(|(target, _)| target.to_owned()));
    }
    targets
}

/// The anchors that GitHub gives to the headings of a document.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let headings = prose(text).filter(|line| line.starts_with('#'));
    let anchor = |line: &str| -> String {
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    let mut numbered = |anchor: String| {
        let before = seen.entry(anchor.clone()).or_default();
        *before += 1;
        if *before == 1 { anchor } else { format!("{anchor}-{}", *before - 1) }
    };
    headings.map(|line| numbered(anchor(line))).collect()
}

/// The path of `target` as seen from the file `from`, without `.` and `..`.
fn beside(from: &str, target: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." | "" => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

// --- Files, found -------------------------------------------------------------------------------

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All files under a folder, in order; none if there is no such folder.
fn files(folder: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(root().join(folder)) else { return Vec::new() };
    let mut found = BTreeMap::new();
    for entry in entries.map(|entry| entry.expect("a folder can be listed")) {
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        let is_folder = entry.path().is_dir();
        found.insert(path.clone(), if is_folder { files(&path) } else { vec![path] });
    }
    found.into_values().flatten().collect()
}

fn sources(folder: &str) -> Vec<Source> {
    files(folder).into_iter().filter(|path| path.ends_with(".rs")).map(Source::read).collect()
}

fn all_sources() -> Vec<Source> {
    ["src", "tests", "benches", "fuzz/src", "fuzz/targets"].into_iter().flat_map(sources).collect()
}

#[track_caller]
fn expect_none(rule: &str, offences: Vec<String>) {
    assert!(offences.is_empty(), "the rule: {rule}\n  {}\n", offences.join("\n  "));
}
