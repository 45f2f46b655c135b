//! The forever iframe: an HTML document that never ends, and whose scripts run as they arrive.
//!
//! A browser executes a `<script>` element as soon as it has read its end tag. So a hidden
//! frame whose document is sent piece by piece is a stream of function calls into the page
//! around it. Here: the stream of the server's time, byte for byte as the pages of the
//! original demo expect it.
//!
//! The same for channels: a message is a call of the page's callback.
//!
//! Knows: documents, ticks and calls. Never learns when a tick is due.

use std::io::Write;

use super::envelope::{self, Reader};
use super::{Gap, News};

/// The callback, unless the page names another.
pub const CALLBACK: &str = "parent.comet.onmessage";

/// A heartbeat: white space, which a document may have anywhere.
pub(super) const HEARTBEAT: &[u8] = b" \n";

/// How long the head of a channel's document is at least: browsers hold back what is shorter, to guess its type.
const HEAD_BYTES: usize = 1_100;

/// Begins a channel's document, padded so that every browser starts to run it.
pub fn begin(out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(
        b"<!DOCTYPE html>\n<html>\n<head>\n<meta charset=\"utf-8\">\n<title>encke</title>\n</head>\n<body>\n",
    );
    out.resize(start + HEAD_BYTES, b' ');
    out.push(b'\n');
}

pub(super) fn message(callback: &str, news: News<'_>, out: &mut Vec<u8>) {
    call(callback, out, |out| envelope::envelope(news, Reader::Script, out));
}

pub(super) fn gap(callback: &str, gap: Gap, out: &mut Vec<u8>) {
    call(callback, out, |out| envelope::gap_envelope(gap, out));
}

fn call(callback: &str, out: &mut Vec<u8>, argument: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(b"<script>");
    out.extend_from_slice(callback.as_bytes());
    out.push(b'(');
    argument(out);
    out.extend_from_slice(b");</script>\n");
}

/// Begins the clock's document. `comet` becomes the object of that name in the page around the frame.
///
/// Konqueror did not share scripts between frames, and so needs the Prototype library in here, too;
/// every browser that calls itself KHTML for compatibility fetches it as well.
pub const CLOCK_DOCUMENT: &[u8] = br#"<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1-strict.dtd">
<html xmlns="http://www.w3.org/1999/xhtml">
<head>
<title>encke: the server's time</title>
<meta http-equiv="Content-Type" content="text/html; charset=utf-8" />
<script type="text/javascript">
//<![CDATA[
if (/KHTML|Konqueror/.test(navigator.userAgent)) {
  var library = document.createElement('script');
  library.setAttribute('type', 'text/javascript');
  library.setAttribute('src', 'prototype.js');
  document.getElementsByTagName('head')[0].appendChild(library);
}
var comet = window.parent.comet;
//]]>
</script>
</head>
<body>
"#;

/// The tick: made once per second of the clock, sent to every connection whose turn it is.
pub struct Tick {
    unix_s: u64,
    /// `padding_max` spaces and then the script, so that any smaller padding is a suffix of it.
    padded: Vec<u8>,
    padding_max: usize,
}

impl Tick {
    /// A tick that can be padded with up to `padding_max` spaces.
    pub fn new(padding_max: usize) -> Self {
        let mut tick = Tick { unix_s: 0, padded: vec![b' '; padding_max], padding_max };
        tick.write();
        tick
    }

    /// The bytes that say `unix_s`, with so many spaces before them.
    ///
    /// Hot: runs once per tick and connection. Writes only when the second is another one.
    pub fn bytes(&mut self, unix_s: u64, padding: usize) -> &[u8] {
        if unix_s != self.unix_s {
            self.unix_s = unix_s;
            self.write();
        }
        &self.padded[self.padding_max - padding.min(self.padding_max)..]
    }

    fn write(&mut self) {
        self.padded.truncate(self.padding_max);
        write!(
            self.padded,
            r#"<script type="text/javascript">comet.printServerTime({});</script>"#,
            self.unix_s
        )
        .expect("a vector takes every byte");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_is_the_call_that_the_page_expects_and_nothing_else() {
        let mut tick = Tick::new(8);
        assert_eq!(
            tick.bytes(1_700_000_000, 0),
            br#"<script type="text/javascript">comet.printServerTime(1700000000);</script>"#
        );
    }

    #[test]
    fn padding_stands_before_the_script() {
        let mut tick = Tick::new(8);
        assert!(tick.bytes(1, 3).starts_with(b"   <script"));
        assert!(tick.bytes(2, 8).starts_with(b"        <script"));
        assert_eq!(tick.bytes(2, 9).len(), tick.bytes(2, 8).len(), "never more than the most");
    }
}
