//! A real Chromium without a screen, driven over WebDriver.
//!
//! WebDriver is JSON over HTTP: a dozen requests are all that these tests need, so they are
//! spoken here directly, and no async runtime is built for them.
//!
//! Knows: chromedriver, windows, elements, keys. Never learns what is on a page.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long a page may take to become what a test waits for. Far more than it ever needs: a
/// busy machine makes a test slow, not red.
const PATIENCE: Duration = Duration::from_secs(60);

const HOW_TO_INSTALL: &str = "the page tests drive a real Chromium through chromedriver: `make test` installs \
                              both (the Debian packages chromium and chromium-driver)";

/// Keys as WebDriver writes them.
pub(crate) const ENTER: &str = "\u{E007}";
pub(crate) const TAB: &str = "\u{E004}";
/// Shift and Tab: one step back.
pub(crate) const BACK_TAB: &str = "\u{E008}\u{E004}\u{E008}";

/// A browser with at least one window. Ends when this value does.
pub(crate) struct Browser {
    driver: Child,
    /// Held, so that what chromedriver still prints has somewhere to go.
    _stdout: BufReader<ChildStdout>,
    port: u16,
    /// Where the browser's profile is, and whatever else it leaves lying about. Ends with it.
    folder: PathBuf,
    /// The path that all commands of our session begin with.
    session: String,
}

/// One window (or tab) of a browser.
#[derive(Clone)]
pub(crate) struct Window(Value);

impl Browser {
    /// Starts a browser with a fresh profile.
    pub(crate) fn start() -> Browser {
        let folder = fresh_folder();
        let (driver, stdout, port) = start_driver(&folder);
        let mut browser = Browser { driver, _stdout: stdout, port, folder, session: String::new() };
        let opened = browser
            .command("POST", "/session", &capabilities())
            .unwrap_or_else(|error| panic!("chromedriver cannot start a browser: {error}; {HOW_TO_INSTALL}"));
        browser.session = format!("/session/{}", opened["sessionId"].as_str().expect("a session has an id"));
        browser
    }

    /// Loads a page in the current window, as if its address had been typed.
    pub(crate) fn go(&self, url: &str) {
        self.post("/url", json!({ "url": url }));
    }

    /// Opens one more window on a page, and makes it the current one.
    pub(crate) fn open(&self, url: &str) -> Window {
        let made = self.post("/window/new", json!({ "type": "window" }));
        let window = Window(made["handle"].clone());
        self.turn_to(&window);
        self.go(url);
        window
    }

    /// The window that commands go to.
    pub(crate) fn window(&self) -> Window {
        Window(self.get("/window"))
    }

    /// Makes a window the current one.
    pub(crate) fn turn_to(&self, window: &Window) {
        self.post("/window", json!({ "handle": window.0 }));
    }

    /// Closes the current window, and turns to another one.
    pub(crate) fn close_and_turn_to(&self, window: &Window) {
        self.must("DELETE", "/window", &Value::Null);
        self.turn_to(window);
    }

    /// Pulls the current window's cable out, or puts it in again.
    pub(crate) fn cut_off(&self, offline: bool) {
        let network =
            json!({ "offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1 });
        self.devtools("Network.enable", json!({}));
        self.devtools("Network.emulateNetworkConditions", network);
    }

    /// Runs the body of a JavaScript function in the page and brings back what it returns. `argument`
    /// is there as `arguments[0]`.
    pub(crate) fn run(&self, script: &str, argument: impl Into<Value>) -> Value {
        self.post("/execute/sync", json!({ "script": script, "args": [argument.into()] }))
    }

    /// The text of the first element that a CSS selector finds; empty when there is none.
    pub(crate) fn text(&self, selector: &str) -> String {
        let text = self.run("return document.querySelector(arguments[0])?.textContent ?? ''", selector);
        text.as_str().expect("textContent is text").to_owned()
    }

    /// The texts of all elements that a CSS selector finds.
    pub(crate) fn texts(&self, selector: &str) -> Vec<String> {
        let all = "return [...document.querySelectorAll(arguments[0])].map(found => found.textContent)";
        serde_json::from_value(self.run(all, selector)).expect("a list of texts")
    }

    /// Presses keys, one after the other, in whatever has the focus.
    pub(crate) fn press(&self, keys: &str) {
        let active = self.get("/element/active");
        let (_, id) =
            active.as_object().and_then(|object| object.iter().next()).expect("an element reference");
        let id = id.as_str().expect("an element's id is text");
        self.post(&format!("/element/{id}/value"), json!({ "text": keys }));
    }

    /// Waits until a condition on the page holds; fails, and shows the page, when it never does.
    pub(crate) fn until(&self, what: &str, holds: impl Fn(&Browser) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            if Instant::now() > deadline {
                let page = self.text("body");
                panic!("waited in vain until {what}\nthe page: {page}\nthe console: {:?}", self.console());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What the browser complained about since this was last asked: scripts that failed, resources that
    /// are missing, violations of the content security policy.
    pub(crate) fn console(&self) -> Vec<String> {
        let entries = self.post("/se/log", json!({ "type": "browser" }));
        let entries = entries.as_array().expect("a log is a list");
        entries.iter().map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// A command of the DevTools protocol, for what WebDriver has no word for.
    pub(crate) fn devtools(&self, command: &str, params: Value) -> Value {
        self.post("/goog/cdp/execute", json!({ "cmd": command, "params": params }))
    }

    fn get(&self, path: &str) -> Value {
        self.must("GET", path, &Value::Null)
    }

    fn post(&self, path: &str, body: Value) -> Value {
        self.must("POST", path, &body)
    }

    fn must(&self, method: &str, path: &str, body: &Value) -> Value {
        self.command(method, &format!("{}{path}", self.session), body)
            .unwrap_or_else(|error| panic!("{method} {path} {body}: {error}"))
    }

    fn command(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let answer = exchange(self.port, method, path, body).map_err(|error| error.to_string())?;
        let value = answer["value"].clone();
        match value["error"].as_str() {
            Some(error) => Err(format!("{error}: {}", value["message"].as_str().unwrap_or_default())),
            None => Ok(value),
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The session first: chromedriver ends its browser then, and would leave it behind if it were just killed.
        if !self.session.is_empty() {
            let _ = self.command("DELETE", &self.session, &Value::Null);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A folder that nobody else has. Its path is short, for there will be sockets in it (`sun_path`: 108 bytes).
fn fresh_folder() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("encke-pages-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir(&folder).expect("the folder for temporary files can be written to");
    folder
}

/// Starts chromedriver on a port of its own choice.
///
/// It takes a free port of `::1`, then wants the same one of `127.0.0.1`, and gives up where that is
/// taken, as by a server of a test beside this one. Then it is asked again.
fn start_driver(folder: &Path) -> (Child, BufReader<ChildStdout>, u16) {
    for _ in 0..20 {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .env("TMPDIR", folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start chromedriver: {error}; {HOW_TO_INSTALL}"));
        let mut stdout = BufReader::new(driver.stdout.take().expect("stdout is piped"));
        match port_of(&mut stdout) {
            Ok(port) => return (driver, stdout, port),
            Err(said) if said.contains("port not available") => driver.wait().expect("it has ended"),
            Err(said) => {
                panic!("chromedriver ended without saying its port; {HOW_TO_INSTALL}; it said: {said}")
            }
        };
    }
    panic!("chromedriver found no port that is free on both ::1 and 127.0.0.1, 20 times in a row");
}

/// The port that chromedriver says it listens on, or all that it said instead.
fn port_of(stdout: &mut impl BufRead) -> Result<u16, String> {
    let mut said = String::new();
    for line in stdout.lines().map_while(Result::ok) {
        if line.contains("started successfully on port") {
            let digits: String = line.chars().filter(char::is_ascii_digit).collect();
            return Ok(digits.parse().expect("a port after `on port`"));
        }
        said += &line;
        said += "\n";
    }
    Err(said)
}

fn capabilities() -> Value {
    let args = [
        "--headless=new",
        "--no-sandbox", // the sandbox refuses to run for root, and tests in a container are run by root
        "--disable-dev-shm-usage", // containers have a tiny /dev/shm
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        // Two windows take part in a chat here; the one behind is to be as awake as the one in front.
        "--disable-background-timer-throttling",
        "--disable-backgrounding-occluded-windows",
        "--disable-renderer-backgrounding",
        "--window-size=1000,700",
        "--hide-scrollbars",
        "--lang=en",
    ];
    json!({ "capabilities": { "alwaysMatch": {
        "browserName": "chrome",
        "goog:chromeOptions": { "args": args },
        "goog:loggingPrefs": { "browser": "ALL" },
    } } })
}

/// One request to chromedriver, on a connection of its own.
fn exchange(port: u16, method: &str, path: &str, body: &Value) -> std::io::Result<Value> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(2 * PATIENCE))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    for line in reader.by_ref().lines() {
        let line = line?.to_ascii_lowercase();
        if let Some(digits) = line.strip_prefix("content-length:") {
            length = digits.trim().parse().map_err(std::io::Error::other)?;
        }
        if line.is_empty() {
            break;
        }
    }
    let mut answer = vec![0; length];
    reader.read_exact(&mut answer)?;
    Ok(serde_json::from_slice(&answer)?)
}
