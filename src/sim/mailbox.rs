//! A mailbox behind a small SMTP server (RFC 5321), for the demo and for tests: it takes every mail and keeps it.
//!
//! It speaks plain text on loopback and knows no authentication; how relays misbehave is for other servers to show.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// One mail as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Envelope recipients.
    pub recipients: Vec<String>,
    /// The message, with its headers.
    pub text: String,
}

impl Received {
    /// The first header of that name, unfolded.
    pub fn header(&self, name: &str) -> Option<String> {
        let mut lines = self.text.lines().take_while(|line| !line.is_empty()).peekable();
        while let Some(line) = lines.next() {
            let Some((found, value)) = line.split_once(':') else { continue };
            if !found.eq_ignore_ascii_case(name) {
                continue;
            }
            let mut whole = value.trim().to_owned();
            while let Some(more) = lines.next_if(|next| next.starts_with([' ', '\t'])) {
                whole.push(' ');
                whole.push_str(more.trim());
            }
            return Some(whole);
        }
        None
    }
}

/// The mailbox.
#[derive(Clone, Debug)]
pub struct Mailbox {
    mails: Arc<Mutex<Vec<Received>>>,
    closed: Arc<AtomicBool>,
    arrivals: mpsc::UnboundedSender<Received>,
}

impl Mailbox {
    /// An empty mailbox, and the stream of what arrives in it.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Received>) {
        let (arrivals, stream) = mpsc::unbounded_channel();
        (Self { mails: Arc::default(), closed: Arc::default(), arrivals }, stream)
    }

    /// Closes the mailbox, or opens it again. While it is closed it greets everybody with 421 (RFC 5321 §3.8).
    pub fn close(&self, closed: bool) {
        self.closed.store(closed, Ordering::Relaxed);
    }

    /// Everything that arrived so far.
    pub fn mails(&self) -> Vec<Received> {
        self.mails.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes mail until it is dropped. A client that breaks off is forgotten, what it handed over before is kept; and nobody waits for one that
    /// went away unseen.
    pub async fn serve(self, listener: TcpListener) {
        let mut conversations = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                    // A broken conversation is the client's affair.
                    conversations.spawn(self.clone().converse(BufReader::new(stream)));
                },
                Some(_) = conversations.join_next() => {}
            }
        }
    }

    /// One conversation, from greeting to QUIT.
    async fn converse(self, mut stream: BufReader<TcpStream>) -> std::io::Result<()> {
        let mut recipients = Vec::new();
        if self.closed.load(Ordering::Relaxed) {
            return say(&mut stream, "421 closed for now").await;
        }
        say(&mut stream, "220 mailbox ESMTP").await?;
        while let Some(line) = hear(&mut stream).await? {
            let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            let answer = match verb.as_str() {
                "EHLO" => "250-mailbox\r\n250 8BITMIME",
                "RCPT" => {
                    recipients.extend(line.split(['<', '>']).nth(1).map(str::to_owned));
                    "250 ok"
                }
                "DATA" => {
                    say(&mut stream, "354 go on").await?;
                    acknowledge_at_once(stream.get_ref())?;
                    let Some(text) = message(&mut stream).await? else { return Ok(()) };
                    self.keep(Received { recipients: std::mem::take(&mut recipients), text });
                    "250 kept"
                }
                "QUIT" => return say(&mut stream, "221 bye").await,
                "HELO" | "MAIL" | "RSET" | "NOOP" => "250 ok",
                _ => "500 unknown",
            };
            say(&mut stream, answer).await?;
        }
        Ok(())
    }

    fn keep(&self, mail: Received) {
        self.mails.lock().unwrap_or_else(PoisonError::into_inner).push(mail.clone());
        // Nobody has to listen.
        let _ = self.arrivals.send(mail);
    }
}

/// A client that sends the end of its message in a packet of its own waits with it until the rest is acknowledged, and the kernel puts
/// that off for 40 ms: no time at all for a person, and half a minute for a client whose clock is simulated.
fn acknowledge_at_once(stream: &TcpStream) -> std::io::Result<()> {
    if cfg!(target_os = "linux") { stream.set_quickack(true) } else { Ok(()) }
}

/// The lines up to the lone dot, with the dots that were doubled on the way made single again. Without the dot it is no message.
async fn message(stream: &mut BufReader<TcpStream>) -> std::io::Result<Option<String>> {
    let mut text = String::new();
    while let Some(line) = hear(stream).await? {
        if line == "." {
            return Ok(Some(text));
        }
        text.push_str(line.strip_prefix('.').unwrap_or(&line));
        text.push('\n');
    }
    Ok(None)
}

async fn hear(stream: &mut BufReader<TcpStream>) -> std::io::Result<Option<String>> {
    let mut line = Vec::new();
    if stream.read_until(b'\n', &mut line).await? == 0 {
        return Ok(None);
    }
    Ok(Some(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned()))
}

async fn say(stream: &mut BufReader<TcpStream>, line: &str) -> std::io::Result<()> {
    stream.get_mut().write_all(format!("{line}\r\n").as_bytes()).await
}
