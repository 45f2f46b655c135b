//! An EventSource, as the standard describes the reading of a stream (WHATWG HTML, "Interpreting an
//! event stream").
//!
//! It forgives what the standard forgives: fields that nobody knows, ids with a NUL, retries that
//! are no number, events without data. Whoever wants to know what a *browser* gets from some bytes
//! asks it.
//!
//! Knows: lines and fields. Never learns which server wrote them.

/// What a page gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// `message`, unless the stream says otherwise.
    pub kind: String,
    pub data: String,
    /// The last that came, with this event or before it.
    pub id: String,
}

/// A stream that is being read. Bytes go in as they come, in pieces of any size.
#[derive(Default)]
pub struct EventSource {
    line: Vec<u8>,
    lines_read: usize,
    after_cr: bool,
    data: String,
    kind: String,
    id: String,
    /// How long a browser waits before it reconnects, if the stream has said so.
    pub retry_ms: Option<u64>,
    /// What it says when it reconnects: it moves with every empty line, whether or not that dispatches anything.
    pub last_id: String,
}

impl EventSource {
    /// Reads on, and returns what is dispatched.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        for &byte in bytes {
            let follows_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
            match byte {
                b'\n' if follows_cr => {}
                b'\r' | b'\n' => {
                    let line = std::mem::take(&mut self.line);
                    self.hear(&String::from_utf8_lossy(&line), &mut events);
                    self.lines_read += 1;
                }
                byte => self.line.push(byte),
            }
        }
        events
    }

    fn hear(&mut self, line: &str, events: &mut Vec<Event>) {
        // One byte order mark is left out, at the very beginning.
        let line = if self.lines_read == 0 { line.strip_prefix('\u{feff}').unwrap_or(line) } else { line };
        if line.is_empty() {
            return self.dispatch(events);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "event" => value.clone_into(&mut self.kind),
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            "retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.retry_ms = value.parse().ok().or(self.retry_ms);
            }
            _ => {}
        }
    }

    fn dispatch(&mut self, events: &mut Vec<Event>) {
        self.last_id.clone_from(&self.id);
        let (mut data, kind) = (std::mem::take(&mut self.data), std::mem::take(&mut self.kind));
        // No data line came. An empty one leaves its line end behind.
        if data.is_empty() {
            return;
        }
        data.pop();
        let kind = if kind.is_empty() { "message".to_owned() } else { kind };
        events.push(Event { kind, data, id: self.last_id.clone() });
    }
}
