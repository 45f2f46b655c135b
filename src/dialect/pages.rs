//! Pages: the files under `static/`, which are part of the program.
//!
//! An operator may lay a directory over them; that one is behind the [`Shelf`], because
//! reading files is not for this room.
//!
//! Knows: paths, types, versions of pages. Never learns where a shelf keeps them.

use std::hash::{DefaultHasher, Hasher};

use crate::kit::frame::Frame;
use crate::wire::refusal::Refusal;

/// Where pages are found.
pub trait Shelf {
    /// What is at `path`: decoded, [plain](crate::wire::http::is_plain_path), beginning with a slash.
    ///
    /// # Errors
    /// If something is there and cannot be served.
    fn find(&mut self, path: &str) -> Result<Option<Found>, Refusal>;
}

/// What a shelf has at a path.
#[derive(Clone, Debug)]
pub enum Found {
    /// This page.
    Page(Page),
    /// A folder with a page in it, asked for without the slash that its relative links need.
    Folder,
}

/// A page, ready to be sent.
#[derive(Clone, Debug)]
pub struct Page {
    /// Its media type, with the charset.
    pub media_type: &'static str,
    /// Its version: a quoted strong tag (RFC 9110 §8.8.3) made from its content.
    pub etag: String,
    /// Its content.
    pub body: Frame,
    /// Whether it is ours, and so needs nothing that its security policy forbids.
    pub strict: bool,
}

impl Page {
    /// A page with this content.
    pub fn new(media_type: &'static str, body: Frame, strict: bool) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(&body);
        Page { media_type, etag: format!("\"{:016x}\"", hasher.finish()), body, strict }
    }

    /// Whether a client that has the versions in `tags` (an `If-None-Match`, RFC 9110 §13.1.2) has this one.
    pub fn is_among(&self, tags: &[u8]) -> bool {
        tags.split(|&byte| byte == b',')
            .map(<[u8]>::trim_ascii)
            .any(|tag| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == self.etag.as_bytes())
    }
}

/// The pages that are part of the program.
pub struct Embedded {
    pages: Vec<(&'static str, Page)>,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const TYPES: &str = "text/plain; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Path, type and content of every file in `static/`. A test sees to it that none is missing.
const FILES: &[(&str, &str, &[u8])] = &[
    ("/article/article.js", SCRIPT, include_bytes!("../../static/article/article.js")),
    ("/article/index.html", HTML, include_bytes!("../../static/article/index.html")),
    ("/chat/chat.js", SCRIPT, include_bytes!("../../static/chat/chat.js")),
    ("/chat/index.html", HTML, include_bytes!("../../static/chat/index.html")),
    ("/clock/clock.js", SCRIPT, include_bytes!("../../static/clock/clock.js")),
    ("/clock/index.html", HTML, include_bytes!("../../static/clock/index.html")),
    ("/clock/prototype.js", SCRIPT, include_bytes!("../../static/clock/prototype.js")),
    ("/encke-more.js", SCRIPT, include_bytes!("../../static/encke-more.js")),
    ("/encke.d.ts", TYPES, include_bytes!("../../static/encke.d.ts")),
    ("/encke.js", SCRIPT, include_bytes!("../../static/encke.js")),
    ("/events/events.js", SCRIPT, include_bytes!("../../static/events/events.js")),
    ("/events/index.html", HTML, include_bytes!("../../static/events/index.html")),
    ("/favicon.svg", SVG, include_bytes!("../../static/favicon.svg")),
    ("/index.html", HTML, include_bytes!("../../static/index.html")),
    ("/index.js", SCRIPT, include_bytes!("../../static/index.js")),
    ("/reconnect.js", SCRIPT, include_bytes!("../../static/reconnect.js")),
    ("/style.css", CSS, include_bytes!("../../static/style.css")),
];

impl Embedded {
    /// All of them.
    pub fn new() -> Self {
        let page = |&(path, media_type, content)| (path, Page::new(media_type, Frame::Static(content), true));
        Embedded { pages: FILES.iter().map(page).collect() }
    }
}

impl Default for Embedded {
    fn default() -> Self {
        Embedded::new()
    }
}

impl Shelf for Embedded {
    fn find(&mut self, path: &str) -> Result<Option<Found>, Refusal> {
        let page = |wanted: &str| self.pages.iter().find(|(path, _)| *path == wanted);
        let index = |folder: &str| page(&format!("{folder}index.html"));
        if let Some((_, page)) = page(path).or_else(|| index(path).filter(|_| path.ends_with('/'))) {
            return Ok(Some(Found::Page(page.clone())));
        }
        Ok(index(&format!("{path}/")).map(|_| Found::Folder))
    }
}
