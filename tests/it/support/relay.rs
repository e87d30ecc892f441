//! A mail relay with bad manners: it speaks SMTP in plain text and fails where a test wants it to.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::server::Server;

/// Where it fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner {
    /// It takes everything.
    Takes,
    /// It asks to come again later.
    Later,
    /// It refuses the recipient for good.
    Never,
    /// It greets and says no more.
    Hangs,
    /// It goes away before the message was handed over.
    DiesBefore,
    /// It takes the message and goes away without a word.
    DiesUnsaid,
    /// It takes the message, says so, and goes away at once.
    DiesAfter,
}

/// The relay.
pub struct Relay {
    /// Where it listens.
    pub port: u16,
    shared: Arc<Shared>,
    _server: Server,
}

struct Shared {
    manner: Mutex<Manner>,
    talks: Mutex<Vec<Manner>>,
    messages: Mutex<Vec<String>>,
}

impl Relay {
    /// One that is up.
    pub fn start(manner: Manner) -> Self {
        let shared =
            Arc::new(Shared { manner: Mutex::new(manner), talks: Mutex::default(), messages: Mutex::default() });
        let served = Arc::clone(&shared);
        let server = Server::start(move |stream| served.talk(stream));
        Self { port: server.port, shared, _server: server }
    }

    /// The relay as an inline table of the configuration.
    pub fn relay(&self, tls: &str) -> String {
        format!("{{ url = \"smtp://127.0.0.1:{}?tls={tls}\" }}", self.port)
    }

    /// Behaves like this from now on.
    pub fn set(&self, manner: Manner) {
        *lock(&self.shared.manner) = manner;
    }

    /// How many conversations of that manner there were.
    pub fn talks(&self, manner: Manner) -> usize {
        lock(&self.shared.talks).iter().filter(|known| **known == manner).count()
    }

    /// The messages that were handed over to it.
    pub fn messages(&self) -> Vec<String> {
        lock(&self.shared.messages).clone()
    }
}

impl Shared {
    fn talk(&self, stream: TcpStream) {
        let manner = *lock(&self.manner);
        lock(&self.talks).push(manner);
        let _ = self.converse(stream, manner);
    }

    fn converse(&self, stream: TcpStream, manner: Manner) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut stream = stream;
        stream.write_all(b"220 localhost ESMTP\r\n")?;
        if manner == Manner::Hangs {
            stream.set_read_timeout(Some(Duration::from_secs(60)))?;
            while reader.read(&mut [0; 512])? > 0 {}
            return Ok(());
        }
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let answer: &[u8] = match (line.get(..4).unwrap_or_default(), manner) {
                ("EHLO", _) => b"250-localhost\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n",
                ("MAIL", Manner::Later) => b"451 come again later\r\n",
                ("RCPT", Manner::Never) => b"550 not here\r\n",
                ("DATA", Manner::DiesBefore) => return Ok(()),
                ("DATA", _) => {
                    stream.write_all(b"354 go on\r\n")?;
                    self.take(&mut reader)?;
                    match manner {
                        Manner::DiesUnsaid => return Ok(()),
                        Manner::DiesAfter => return stream.write_all(b"250 taken\r\n"),
                        _ => b"250 taken\r\n",
                    }
                }
                ("QUIT", _) => return stream.write_all(b"221 bye\r\n"),
                _ => b"250 fine\r\n",
            };
            stream.write_all(answer)?;
        }
    }

    fn take(&self, reader: &mut BufReader<TcpStream>) -> std::io::Result<()> {
        let mut message = String::new();
        while !message.ends_with("\r\n.\r\n") && reader.read_line(&mut message)? > 0 {}
        lock(&self.messages).push(message);
        Ok(())
    }
}

/// Nothing that is kept under these locks can be left half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
