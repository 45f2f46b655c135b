//! A directory that is laid over the embedded pages.
//!
//! Files are read in one piece, by the one thread; so they are bounded in size, and what was
//! read is kept until the file changes. Many slow readers of a file share one copy.
//!
//! Knows: paths and files. Never learns who asks for them.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::dialect::pages::{Found, Page, Shelf};
use crate::kit::frame::Frame;
use crate::wire::refusal::Refusal;

use super::ServeError;

/// A directory, and what lies under it.
pub(super) struct Folder {
    /// Invariant: canonical. Nothing outside is ever served, whatever links say.
    root: PathBuf,
    file_bytes_max: usize,
    /// What was read, by canonical path.
    read: HashMap<PathBuf, (Version, Page)>,
    beneath: Box<dyn Shelf>,
}

/// What changes when a file does.
#[derive(PartialEq, Eq)]
struct Version {
    modified: Option<SystemTime>,
    bytes: u64,
}

impl Folder {
    /// `directory`, laid over `beneath`.
    pub(super) fn new(
        directory: &Path,
        file_bytes_max: usize,
        beneath: Box<dyn Shelf>,
    ) -> Result<Self, ServeError> {
        let shown = directory.display();
        let root = fs::canonicalize(directory).map_err(|error| {
            ServeError(format!("cannot serve files from {shown}: {error}; check --static"))
        })?;
        if !root.is_dir() {
            return Err(ServeError(format!(
                "cannot serve files from {shown}: it is not a directory; check --static"
            )));
        }
        Ok(Folder { root, file_bytes_max, read: HashMap::new(), beneath })
    }

    /// The page in a file, or `None` if there is no such file in the directory.
    fn page(&mut self, path: &Path) -> Result<Option<Page>, Refusal> {
        let Some((path, metadata)) = self.locate(path).filter(|(_, metadata)| metadata.is_file()) else {
            return Ok(None);
        };
        if metadata.len() > self.file_bytes_max as u64 {
            log::warn!(file:? = path, bytes = metadata.len(); "too large to be served; see static-file-bytes-max");
            return Err(Refusal::new(404, "the file is larger than this server serves"));
        }
        let version = Version { modified: metadata.modified().ok(), bytes: metadata.len() };
        if let Some((_, page)) = self.read.get(&path).filter(|(known, _)| *known == version) {
            return Ok(Some(page.clone()));
        }
        let content = match fs::read(&path) {
            Ok(content) => content,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                log::warn!(file:? = path, error:% = error; "cannot be read");
                return Err(Refusal::new(404, "the file cannot be read; the server's log says why"));
            }
        };
        let page = Page::new(media_type(&path), Frame::from(content), false);
        self.read.insert(path, (version, page.clone()));
        Ok(Some(page))
    }

    /// Follows links, but not out of the directory.
    fn locate(&self, path: &Path) -> Option<(PathBuf, Metadata)> {
        let path = fs::canonicalize(path).ok().filter(|path| path.starts_with(&self.root))?;
        let metadata = fs::metadata(&path).ok()?;
        Some((path, metadata))
    }
}

impl Shelf for Folder {
    fn find(&mut self, path: &str) -> Result<Option<Found>, Refusal> {
        let file = self.root.join(path.trim_start_matches('/'));
        let page = if path.ends_with('/') { self.page(&file.join("index.html"))? } else { self.page(&file)? };
        if let Some(page) = page {
            return Ok(Some(Found::Page(page)));
        }
        if !path.ends_with('/')
            && self.locate(&file.join("index.html")).is_some_and(|(_, found)| found.is_file())
        {
            return Ok(Some(Found::Folder));
        }
        self.beneath.find(path)
    }
}

fn media_type(path: &Path) -> &'static str {
    match mime_guess::from_path(path).first_raw() {
        Some("text/html") => "text/html; charset=utf-8",
        Some("text/css") => "text/css; charset=utf-8",
        Some("text/javascript" | "application/javascript") => "text/javascript; charset=utf-8",
        Some("text/plain") => "text/plain; charset=utf-8",
        Some(other) => other,
        None => "application/octet-stream",
    }
}
