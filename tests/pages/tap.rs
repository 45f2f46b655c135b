//! A wire that can be listened to, and cut: it passes on what browser and server say, byte for byte.
//!
//! A page cannot see what its browser says when it reconnects. Here it can be read.
//!
//! Knows: bytes in both directions. Never learns what they mean.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A tapped wire to one server. It ends with the process.
pub(crate) struct Tap {
    pub(crate) port: u16,
    said: Arc<Mutex<Said>>,
}

#[derive(Default)]
struct Said {
    /// Per connection: what the browser has said, and what the server has.
    both: Vec<[Vec<u8>; 2]>,
    ends: Vec<TcpStream>,
}

impl Tap {
    pub(crate) fn on(server: u16) -> Tap {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("there is a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let said = Arc::new(Mutex::new(Said::default()));
        let tap = Tap { port, said: Arc::clone(&said) };
        std::thread::spawn(move || {
            for browser in listener.incoming().map_while(Result::ok) {
                if let Ok(server) = TcpStream::connect(("127.0.0.1", server)) {
                    connect(browser, server, &said);
                }
            }
        });
        tap
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// What was asked under `path`, and what was answered so far, in order.
    pub(crate) fn exchanges(&self, path: &str) -> Vec<(String, String)> {
        let said = self.said.lock().expect("nobody panics in there");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let all = said.both.iter().map(|[asked, answered]| (text(asked), text(answered)));
        all.filter(|(asked, _)| asked.contains(&format!("GET {path}"))).collect()
    }

    /// Cuts every connection there is; new ones can be made.
    pub(crate) fn cut(&self) {
        for end in self.said.lock().expect("nobody panics in there").ends.drain(..) {
            // An error means that it has ended already.
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

fn connect(browser: TcpStream, server: TcpStream, said: &Arc<Mutex<Said>>) {
    let clone = |end: &TcpStream| end.try_clone().expect("there are descriptors");
    let nth = {
        let mut said = said.lock().expect("nobody panics in there");
        said.both.push(Default::default());
        said.ends.extend([clone(&browser), clone(&server)]);
        said.both.len() - 1
    };
    for (way, mut from, mut to) in [(0, clone(&browser), clone(&server)), (1, server, browser)] {
        let said = Arc::clone(said);
        std::thread::spawn(move || {
            let mut bytes = [0; 16_384];
            while let Ok(n @ 1..) = from.read(&mut bytes) {
                said.lock().expect("nobody panics in there").both[nth][way].extend_from_slice(&bytes[..n]);
                if to.write_all(&bytes[..n]).is_err() {
                    break;
                }
            }
            let _ = to.shutdown(Shutdown::Both);
        });
    }
}
