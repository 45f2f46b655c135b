//! A directory that is laid over the embedded pages.
//!
//! A file is found and read by one descriptor. The kernel itself refuses to leave the directory on the way
//! to it, so there is no moment between looking and reading in which a link could be turned round.
//!
//! Files are read in one piece, by the one thread; so they are bounded in size, and what was
//! read is kept until the file changes or there is no room. Many slow readers of a file share one copy.
//!
//! Knows: paths, descriptors, files. Never learns who asks for them.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

use crate::dialect::pages::{Found, Page, Shelf};
use crate::kit::frame::Frame;
use crate::wire::refusal::Refusal;

use super::ServeError;

/// Files of the largest size for which there is room among what was read.
const LARGEST_KEPT: usize = 4;

/// What an entry costs beside its content and its path, about, in bytes.
const ENTRY_BYTES: usize = 256;

/// The kernel gives up when somebody moves directories about at the same time, and asks to be asked again.
const OPEN_TRIES: usize = 8;

/// A directory, and what lies under it.
pub(super) struct Folder {
    root: OwnedFd,
    /// Whether the kernel can follow links without leaving the directory (Linux 5.6). Else none are followed.
    follows_links: bool,
    file_bytes_max: usize,
    read: Kept,
    /// Files of which the log says already that they cannot be served: as many as there are such files.
    complained: HashSet<String>,
    beneath: Box<dyn Shelf>,
}

/// What was read, by path. The least recently asked for goes when there is no room.
struct Kept {
    pages: HashMap<String, Entry>,
    bytes: usize,
    bytes_max: usize,
    /// Counts what is asked for.
    clock: u64,
}

struct Entry {
    version: Version,
    page: Page,
    asked_at: u64,
}

/// What changes when a file does, or when another one takes its place.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Version {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Folder {
    /// `directory`, laid over `beneath`.
    pub(super) fn new(
        directory: &Path,
        file_bytes_max: usize,
        beneath: Box<dyn Shelf>,
    ) -> Result<Self, ServeError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, directory, flags, Mode::empty()).map_err(|error| {
            let shown = directory.display();
            let found = match error {
                Errno::NOTDIR => "it is not a directory".into(),
                other => io::Error::from(other).to_string(),
            };
            ServeError(format!("cannot serve files from {shown}: {found}; check --static"))
        })?;
        let follows_links = openat2(&root, ".", flags, Mode::empty(), ResolveFlags::BENEATH).is_ok();
        let read = Kept::new(file_bytes_max.saturating_mul(LARGEST_KEPT));
        Ok(Folder { root, follows_links, file_bytes_max, read, complained: HashSet::new(), beneath })
    }

    /// The page in a file, or `None` if there is no such file in the directory.
    fn page(&mut self, path: &str) -> Result<Option<Page>, Refusal> {
        let Some((file, version)) = self.open(path)? else { return Ok(None) };
        if let Some(page) = self.read.page(path, version) {
            return Ok(Some(page));
        }
        if version.bytes > self.file_bytes_max as u64 {
            return Err(self.too_large(path));
        }
        let mut content = Vec::with_capacity(version.bytes as usize + 1);
        // It may be growing: one byte more than allowed is enough to know.
        match file.take(self.file_bytes_max as u64 + 1).read_to_end(&mut content) {
            Ok(bytes) if bytes > self.file_bytes_max => return Err(self.too_large(path)),
            Ok(_) => {}
            Err(error) => return Err(self.unreadable(path, &error)),
        }
        let page = Page::new(media_type(path), Frame::from(content), false);
        self.read.keep(path, version, page.clone());
        Ok(Some(page))
    }

    fn too_large(&mut self, path: &str) -> Refusal {
        if self.complained.insert(path.to_owned()) {
            log::warn!(file = path; "too large to be served; see static-file-bytes-max");
        }
        Refusal::new(404, "the file is larger than this server serves")
    }

    fn unreadable(&mut self, path: &str, error: &io::Error) -> Refusal {
        if self.complained.insert(path.to_owned()) {
            log::warn!(file = path, error:% = error; "cannot be read");
        }
        Refusal::new(404, "the file cannot be read; the server's log says why")
    }

    /// Opens a regular file beneath the directory. Never waits, as it would for the other end of a pipe.
    fn open(&mut self, path: &str) -> Result<Option<(File, Version)>, Refusal> {
        let opened =
            if self.follows_links { open_beneath(&self.root, path) } else { open_plain(&self.root, path) };
        let file = match opened {
            Ok(file) => File::from(file),
            // There is nothing, or nothing that may be served: a link out of the directory, a socket.
            Err(
                Errno::NOENT | Errno::NOTDIR | Errno::XDEV | Errno::LOOP | Errno::NAMETOOLONG | Errno::NXIO,
            ) => {
                return Ok(None);
            }
            // The file may well be there: whoever asks again later gets it.
            Err(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN) => {
                return Err(Refusal::new(503, "the server is out of descriptors or memory; try again later"));
            }
            Err(errno) => return Err(self.unreadable(path, &errno.into())),
        };
        let metadata = file.metadata().map_err(|error| self.unreadable(path, &error))?;
        Ok(metadata.is_file().then(|| {
            let version = Version {
                device: metadata.dev(),
                inode: metadata.ino(),
                bytes: metadata.len(),
                modified: (metadata.mtime(), metadata.mtime_nsec()),
                changed: (metadata.ctime(), metadata.ctime_nsec()),
            };
            (file, version)
        }))
    }
}

const FILE: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// Follows links, but not out of the directory, and not absolute ones.
fn open_beneath(root: &OwnedFd, path: &str) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let mut tries = 1;
    loop {
        match openat2(root, path, FILE, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) if tries < OPEN_TRIES => tries += 1,
            other => return other,
        }
    }
}

/// Goes down one directory at a time, and follows no links at all.
fn open_plain(root: &OwnedFd, path: &str) -> Result<OwnedFd, Errno> {
    let (directories, file) = path.rsplit_once('/').unwrap_or(("", path));
    let mut at: Option<OwnedFd> = None;
    for name in directories.split('/').filter(|name| !name.is_empty()) {
        let from = at.as_ref().unwrap_or(root).as_fd();
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        at = Some(openat(from, name, flags, Mode::empty())?);
    }
    openat(at.as_ref().unwrap_or(root).as_fd(), file, FILE | OFlags::NOFOLLOW, Mode::empty())
}

impl Shelf for Folder {
    fn find(&mut self, path: &str) -> Result<Option<Found>, Refusal> {
        // A plain path: relative to the directory it has no way up.
        let relative = path.trim_start_matches('/');
        let is_folder = relative.is_empty() || relative.ends_with('/');
        let index =
            if is_folder { format!("{relative}index.html") } else { format!("{relative}/index.html") };
        if let Some(page) = self.page(if is_folder { &index } else { relative })? {
            return Ok(Some(Found::Page(page)));
        }
        if !is_folder && self.open(&index)?.is_some() {
            return Ok(Some(Found::Folder));
        }
        self.beneath.find(path)
    }
}

impl Kept {
    fn new(bytes_max: usize) -> Self {
        Kept { pages: HashMap::new(), bytes: 0, bytes_max, clock: 0 }
    }

    fn page(&mut self, path: &str, version: Version) -> Option<Page> {
        self.clock += 1;
        let entry = self.pages.get_mut(path).filter(|entry| entry.version == version)?;
        entry.asked_at = self.clock;
        Some(entry.page.clone())
    }

    fn keep(&mut self, path: &str, version: Version, page: Page) {
        self.forget(path);
        let bytes = weight(path, &page);
        while self.bytes + bytes > self.bytes_max
            && let Some(oldest) = self.pages.iter().min_by_key(|(_, entry)| entry.asked_at)
        {
            let oldest = oldest.0.clone();
            self.forget(&oldest);
        }
        if bytes <= self.bytes_max {
            self.bytes += bytes;
            self.pages.insert(path.to_owned(), Entry { version, page, asked_at: self.clock });
        }
    }

    fn forget(&mut self, path: &str) {
        if let Some(entry) = self.pages.remove(path) {
            self.bytes -= weight(path, &entry.page);
        }
    }
}

fn weight(path: &str, page: &Page) -> usize {
    page.body.len() + path.len() + ENTRY_BYTES
}

fn media_type(path: &str) -> &'static str {
    match mime_guess::from_path(path).first_raw() {
        Some("text/html") => "text/html; charset=utf-8",
        Some("text/css") => "text/css; charset=utf-8",
        Some("text/javascript" | "application/javascript") => "text/javascript; charset=utf-8",
        Some("text/plain") => "text/plain; charset=utf-8",
        Some(other) => other,
        None => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use super::*;
    use crate::dialect::pages::Embedded;

    /// A directory of this test's own, which goes away with it.
    struct Site(PathBuf);

    impl Site {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("encke-{name}-{}", std::process::id()));
            fs::create_dir_all(path.join("pages/sub")).unwrap();
            fs::write(path.join("secret"), "secret").unwrap();
            fs::write(path.join("pages/sub/a.txt"), "a").unwrap();
            Site(path)
        }

        fn folder(&self, file_bytes_max: usize) -> Folder {
            Folder::new(&self.0.join("pages"), file_bytes_max, Box::new(Embedded::new())).unwrap()
        }
    }

    impl Drop for Site {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn text(folder: &mut Folder, path: &str) -> Option<String> {
        match folder.find(path) {
            Ok(Some(Found::Page(page))) => Some(String::from_utf8(page.body.to_vec()).unwrap()),
            _ => None,
        }
    }

    #[test]
    fn links_are_followed_within_the_directory_and_never_out_of_it() {
        let site = Site::new("links");
        let link = |to: &Path, name: &str| symlink(to, site.0.join("pages").join(name)).unwrap();
        link(Path::new("sub/a.txt"), "inside.txt");
        link(Path::new("../secret"), "outside.txt");
        link(Path::new(".."), "up");
        link(&site.0.join("secret"), "absolute.txt");
        link(Path::new("loop.txt"), "loop.txt");
        link(Path::new("/proc/self/root"), "magic");
        let mut folder = site.folder(100);
        let follows = folder.follows_links;
        assert_eq!(text(&mut folder, "/inside.txt"), follows.then(|| "a".to_owned()));
        folder.follows_links = false;
        assert_eq!(text(&mut folder, "/sub/a.txt"), Some("a".into()));
        assert_eq!(text(&mut folder, "/inside.txt"), None);
        for follows_links in [follows, false] {
            folder.follows_links = follows_links;
            for path in ["/outside.txt", "/up/secret", "/absolute.txt", "/loop.txt", "/magic/etc/passwd"] {
                assert_eq!(text(&mut folder, path), None, "{path}");
            }
        }
    }

    #[test]
    fn a_link_that_is_turned_round_between_two_requests_leads_nowhere() {
        let site = Site::new("turned");
        let link = site.0.join("pages/link.txt");
        symlink("sub/a.txt", &link).unwrap();
        let mut folder = site.folder(100);
        text(&mut folder, "/link.txt");
        fs::remove_file(&link).unwrap();
        symlink("../secret", &link).unwrap();
        assert_eq!(text(&mut folder, "/link.txt"), None, "what was read before is not it any more");
    }

    #[test]
    fn a_file_is_served_up_to_its_limit_and_not_beyond() {
        let site = Site::new("large");
        fs::write(site.0.join("pages/n.txt"), "x".repeat(100)).unwrap();
        fs::write(site.0.join("pages/n1.txt"), "x".repeat(101)).unwrap();
        let mut folder = site.folder(100);
        assert_eq!(text(&mut folder, "/n.txt").map(|text| text.len()), Some(100));
        assert_eq!(folder.find("/n1.txt").unwrap_err().status, 404);
        // A file of the kernel's says that it is empty, and is not.
        let mut folder = Folder::new(Path::new("/proc/self"), 16, Box::new(Embedded::new())).unwrap();
        assert_eq!(folder.find("/status").unwrap_err().status, 404);
    }

    #[test]
    fn what_was_read_is_bounded_and_the_oldest_goes() {
        let site = Site::new("kept");
        for n in 0..20 {
            fs::write(site.0.join(format!("pages/{n}.txt")), "x".repeat(1_000)).unwrap();
        }
        let mut folder = site.folder(1_000);
        for n in 0..20 {
            assert!(text(&mut folder, &format!("/{n}.txt")).is_some());
            assert!(text(&mut folder, "/0.txt").is_some());
            assert!(folder.read.bytes <= 4_000, "{} bytes", folder.read.bytes);
            assert!(folder.read.pages.contains_key("0.txt"), "it is asked for again and again");
        }
        let weights = folder.read.pages.iter().map(|(path, entry)| weight(path, &entry.page));
        assert_eq!(weights.sum::<usize>(), folder.read.bytes);
    }

    #[test]
    fn a_changed_file_is_read_again() {
        let site = Site::new("changed");
        let mut folder = site.folder(100);
        assert_eq!(text(&mut folder, "/sub/a.txt"), Some("a".into()));
        fs::write(site.0.join("pages/sub/b.txt"), "b").unwrap();
        // The same size and age: only the file is another one.
        fs::rename(site.0.join("pages/sub/b.txt"), site.0.join("pages/sub/a.txt")).unwrap();
        assert_eq!(text(&mut folder, "/sub/a.txt"), Some("b".into()));
    }
}
