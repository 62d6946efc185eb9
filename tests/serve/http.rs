//! A client of HTTP/1.1 that can also stop in the middle, which a real one cannot.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::support::json;

/// A server that says nothing for so long has failed the test.
const SILENCE: Duration = Duration::from_secs(120);

/// Whether the other side has closed the connection, with something of ours unread.
fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted)
}

/// A connection to a port of this machine.
pub struct Connection {
    reader: BufReader<TcpStream>,
}

impl Connection {
    pub fn open(port: u16) -> io::Result<Self> {
        Self::of(TcpStream::connect((Ipv4Addr::LOCALHOST, port))?)
    }

    /// One for which the system keeps little of what was not read yet; else it may be tens of megabytes.
    pub fn narrow(port: u16) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_recv_buffer_size(4096)?;
        socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
        Self::of(socket.into())
    }

    fn of(stream: TcpStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(SILENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { reader: BufReader::new(stream) })
    }

    /// Sends these bytes as they are.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.reader.get_mut().write_all(bytes.as_ref()).expect("the server reads");
    }

    /// Sends a request. A `host` among the headers takes the place of the usual one.
    pub fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) {
        let mut head = format!("{method} {path} HTTP/1.1\r\n");
        let is_named = |name: &str| headers.iter().any(|(other, _)| *other == name);
        if !is_named("host") {
            head.push_str("host: localhost\r\n");
        }
        if !body.is_empty() && !is_named("content-length") {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        self.send(format!("{head}\r\n{body}"));
    }

    /// One line without its end; None where the server has closed the connection.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(line.trim_end().to_string()),
            Err(error) if is_end(&error) => None,
            Err(error) => panic!("the server is silent: {error}"),
        }
    }

    /// Status and headers.
    pub fn head(&mut self) -> Reply {
        let first = self.line().expect("a status line");
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let mut headers = Vec::new();
        while let Some(line) = self.line().filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').expect("a header");
            headers.push((name.to_ascii_lowercase(), value.trim().to_string()));
        }
        Reply { status: status.expect("a status"), headers, body: String::new() }
    }

    /// The next chunk of a body sent in chunks; None at its end.
    fn chunk(&mut self) -> Option<Vec<u8>> {
        let size = self.line().expect("the body ended without its last chunk");
        let size = usize::from_str_radix(&size, 16).expect("the size of a chunk");
        let mut chunk = vec![0; size + 2];
        self.reader.read_exact(&mut chunk).expect("a chunk");
        chunk.truncate(size);
        (size > 0).then_some(chunk)
    }

    /// A whole answer.
    pub fn reply(&mut self) -> Reply {
        let mut reply = self.head();
        let mut body = Vec::new();
        match reply.header("content-length") {
            Some(length) => {
                body.resize(length.parse().expect("a length"), 0);
                self.reader.read_exact(&mut body).expect("the body");
            }
            None if reply.header("transfer-encoding").is_some() => {
                while let Some(chunk) = self.chunk() {
                    body.extend(chunk);
                }
            }
            None => {}
        }
        reply.body = String::from_utf8(body).expect("the body is text");
        reply
    }

    /// Whether the server closes the connection without a word.
    pub fn is_closed(&mut self) -> bool {
        self.line().is_none()
    }

    /// Reads the events of a stream from here on.
    pub fn events(mut self) -> Events {
        let reply = self.head();
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(reply.header("content-type"), Some("text/event-stream"), "{reply:?}");
        Events { connection: self, text: String::new() }
    }
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: String,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        json(&self.body)
    }

    /// The JSON of a good answer.
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()
    }

    /// Expects an error of this status, in the shape of OpenAI's, whose message has these parts.
    pub fn fails(&self, status: u16, param: Option<&str>, says: &[&str]) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        let error = self.json()["error"].clone();
        assert_eq!(error["param"].as_str(), param, "{self:?}");
        assert!(error["type"].is_string() && error["code"].is_string() | error["code"].is_null());
        let message = error["message"].as_str().expect("a message");
        for part in says {
            assert!(message.contains(part), "{part:?} is missing in {message:?}");
        }
        error
    }
}

/// The events of a stream, as they come.
pub struct Events {
    connection: Connection,
    text: String,
}

impl Iterator for Events {
    /// What stands behind `data: `.
    type Item = String;

    fn next(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let event: String = self.text.drain(..end + 2).collect();
                // A line with a colon in front keeps the connection alive.
                match event.trim_end().strip_prefix("data: ") {
                    Some(data) => return Some(data.to_string()),
                    None => assert!(event.starts_with(':'), "{event:?} is no event"),
                }
            } else {
                match self.connection.chunk() {
                    Some(chunk) => self.text += &String::from_utf8(chunk).expect("text"),
                    None => {
                        assert_eq!(self.text, "", "the stream ended within an event");
                        return None;
                    }
                }
            }
        }
    }
}

/// One of a stream's texts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Streamed {
    pub text: String,
    pub finish: Option<String>,
    pub tokens: Vec<Value>,
    pub offsets: Vec<Value>,
}

/// The texts of a stream by their index, and what was used; checks the order of its events.
pub fn collect(events: impl Iterator<Item = String>) -> (Vec<Streamed>, Value) {
    let (mut texts, mut usage, mut is_done) = (Vec::new(), Value::Null, false);
    for event in events {
        assert!(!is_done, "{event} follows [DONE]");
        if event == "[DONE]" {
            is_done = true;
            continue;
        }
        let event = json(&event);
        assert_eq!(event["object"], "text_completion", "{event}");
        let choices = event["choices"].as_array().expect("choices");
        if choices.is_empty() {
            usage = event["usage"].clone();
        }
        for choice in choices {
            let index = choice["index"].as_u64().expect("an index") as usize;
            if texts.len() <= index {
                texts.resize(index + 1, Streamed::default());
            }
            let text: &mut Streamed = &mut texts[index];
            assert_eq!(text.finish, None, "the text goes on after its end: {event}");
            text.text += choice["text"].as_str().expect("a text");
            text.finish = choice["finish_reason"].as_str().map(ToString::to_string);
            for (name, all) in [("tokens", &mut text.tokens), ("text_offset", &mut text.offsets)] {
                all.extend(choice["logprobs"][name].as_array().into_iter().flatten().cloned());
            }
        }
    }
    assert!(is_done, "the stream ended without [DONE]");
    assert!(texts.iter().all(|text| text.finish.is_some()), "{texts:?}");
    (texts, usage)
}
