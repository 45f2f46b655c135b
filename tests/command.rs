//! The command, as the shell sees it: what it prints, where, and its exit code. Serving is tested elsewhere.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

/// A file that is gone when the test is over.
struct ConfigFile(PathBuf);

impl ConfigFile {
    fn new(name: &str, text: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("encke-{}-{name}.toml", std::process::id()));
        fs::write(&path, text).expect("the temporary directory takes files");
        ConfigFile(path)
    }

    fn name(&self) -> &str {
        self.0.to_str().expect("the path was made here")
    }
}

impl Drop for ConfigFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn encke(arguments: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_encke");
    Command::new(program).args(arguments).output().expect("the command can be started")
}

fn stdout_of(arguments: &[&str]) -> String {
    let output = encke(arguments);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).expect("output is UTF-8")
}

/// What it says on standard error when it refuses to start.
fn complaint(arguments: &[&str]) -> String {
    let output = encke(arguments);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr).expect("output is UTF-8")
}

#[test]
fn version_is_the_packages() {
    assert_eq!(stdout_of(&["--version"]), format!("encke {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn help_names_every_flag_and_fits_a_terminal() {
    let help = stdout_of(&["--help"]);
    for flag in [
        "--listen <ADDR>",
        "--reuse-port",
        "--host <NAME>",
        "--open",
        "--lab",
        "--static <DIR>",
        "--config <FILE>",
        "--max-connections <N>",
        "--log-level <LEVEL>",
        "--log-format <FORMAT>",
        "encke config > encke.toml",
    ] {
        assert!(help.contains(flag), "{flag} is missing in:\n{help}");
    }
    let longest = help.lines().map(|line| line.chars().count()).max();
    assert!(longest <= Some(100), "{help}");
    assert_eq!(help, stdout_of(&["-h"]));
}

#[test]
fn serve_has_the_same_flags() {
    assert!(stdout_of(&["serve", "--help"]).contains("--max-connections <N>"));
}

#[test]
fn config_prints_the_default_file() {
    assert_eq!(stdout_of(&["config"]), include_str!("../src/config.default.toml"));
}

#[test]
fn an_unknown_flag_is_refused() {
    assert!(complaint(&["--lisen", "8080"]).contains("--lisen"));
    assert!(complaint(&["dance"]).contains("dance"));
}

#[test]
fn a_bad_address_is_told_the_good_ones() {
    assert!(
        complaint(&["--listen", "here"])
            .contains("\"here\" is not an address to listen on; write 127.0.0.1:8080")
    );
    assert!(complaint(&["serve", "--listen", "here"]).contains("\"here\" is not an address"));
}

#[test]
fn a_bad_number_or_level_is_refused() {
    assert!(complaint(&["--max-connections", "-1"]).contains("-1"));
    assert!(complaint(&["--log-level", "loud"]).contains("trace"));
    assert!(complaint(&["--log-format", "xml"]).contains("json"));
}

#[test]
fn a_public_address_without_tokens_or_open_is_refused_in_one_line() {
    let expected = "encke: 0.0.0.0:0 can be reached from other machines, and everybody there could publish; \
                    set publish-tokens under [auth] in a file given with --config, so that only whoever knows one \
                    can, or add --open (or open = true) if everybody may; else listen on 127.0.0.1\n";
    assert_eq!(complaint(&["--listen", "0.0.0.0:0"]), expected);
    let file = ConfigFile::new("public", b"listen = [\"0.0.0.0:0\"]");
    assert_eq!(complaint(&["--config", file.name()]), expected);
}

#[test]
fn flags_win_over_the_file() {
    // The file is fine; what is refused can only have come from the flag.
    let file = ConfigFile::new("fine", b"listen = [\"0.0.0.0:0\"]\nopen = true\nhosts = [\"a.example\"]");
    assert!(
        complaint(&["--config", file.name(), "--host", "a:80"]).starts_with("encke: hosts: \"a:80\" is not")
    );
}

#[test]
fn a_missing_file_is_refused_in_one_line() {
    let expected =
        "encke: cannot read no/such/file.toml: no such file; `encke config` prints one to start from\n";
    assert_eq!(complaint(&["--config", "no/such/file.toml"]), expected);
}

#[test]
fn a_mistake_in_the_file_is_named_with_its_line() {
    let file = ConfigFile::new("mistake", b"open = false\n\n[limits]\nlisen = 1\n");
    let error = complaint(&["--config", file.name()]);
    let expected = format!(
        "encke: {}:4: unknown key \"lisen\" in [limits]; expected one of connections-max, ",
        file.name()
    );
    assert!(error.starts_with(&expected), "{error}");
    assert_eq!(error.lines().count(), 1);
}

#[test]
fn a_mistake_in_a_rule_is_named_with_its_line() {
    let file = ConfigFile::new("rule", b"[[channel]]\nmatch = \"chat:*\"\n\n[[channel]]\nslow = \"gap\"\n");
    let expected = format!("encke: {}:4: [[channel]] has no \"match\"; it needs one\n", file.name());
    assert_eq!(complaint(&["--config", file.name()]), expected);
    let file = ConfigFile::new("ticker", b"[[ticker]]\nchannel = \"$clock\"\nevery = \"1s\"\n");
    let expected = format!(
        "encke: {}:2: ticker.channel: \"$clock\" is built in, one tick a second; \
         give this ticker another channel\n",
        file.name()
    );
    assert_eq!(complaint(&["--config", file.name()]), expected);
}

#[test]
fn a_file_that_makes_no_sense_is_refused() {
    let file = ConfigFile::new("senseless", b"[limits]\nidle-timeout = \"0s\"\n");
    assert_eq!(
        complaint(&["--config", file.name()]),
        "encke: limits: idle-timeout is 0; it must be at least 1ms\n"
    );
    let file = ConfigFile::new("binary", b"listen = [\"\xff\"]");
    assert!(complaint(&["--config", file.name()]).ends_with(": it is not UTF-8 text\n"));
}
