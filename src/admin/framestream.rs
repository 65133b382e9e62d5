//! Frame Streams: how dnstap's messages travel over a socket, with the handshake of a sender that is answered
//! (<https://github.com/farsightsec/fstrm>). Frames begin with their length; a length of zero escapes a control frame.

use std::io::{self, Read, Write};

/// Control frames.
const ACCEPT: u32 = 1;
const START: u32 = 2;
const STOP: u32 = 3;
const READY: u32 = 4;
const FINISH: u32 = 5;

/// A control frame's field: the type of content.
const CONTENT_TYPE: u32 = 1;

/// The longest control frame.
const MAX_CONTROL: u32 = 512;

/// A stream after its handshake.
#[derive(Debug)]
pub struct Frames<S> {
    stream: S,
}

impl<S: Read + Write> Frames<S> {
    /// Offers a content type, and starts the stream when the receiver accepts it.
    ///
    /// # Errors
    /// The receiver refuses the content type, or does not speak Frame Streams.
    pub fn begin(mut stream: S, content: &str) -> io::Result<Self> {
        stream.write_all(&control(READY, Some(content)))?;
        stream.flush()?;
        let (kind, fields) = read_control(&mut stream)?;
        if kind != ACCEPT {
            return Err(odd("it did not accept"));
        }
        if !offers(&fields, content) {
            return Err(odd("it expects another content type"));
        }
        stream.write_all(&control(START, Some(content)))?;
        Ok(Self { stream })
    }

    /// Sends one frame.
    ///
    /// # Errors
    /// The receiver has closed the connection.
    pub fn send(&mut self, data: &[u8]) -> io::Result<()> {
        let length = u32::try_from(data.len()).map_err(io::Error::other)?;
        self.stream.write_all(&length.to_be_bytes())?;
        self.stream.write_all(data)
    }

    /// Flushes the buffer.
    ///
    /// # Errors
    /// The receiver has closed the connection.
    pub fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }

    /// Ends the stream, and waits until the receiver has read everything.
    ///
    /// # Errors
    /// The receiver has closed the connection.
    pub fn finish(mut self) -> io::Result<()> {
        self.stream.write_all(&control(STOP, None))?;
        self.stream.flush()?;
        match read_control(&mut self.stream)? {
            (FINISH, _) => Ok(()),
            _ => Err(odd("it did not finish")),
        }
    }
}

/// A control frame, its escape before it.
fn control(kind: u32, content: Option<&str>) -> Vec<u8> {
    let mut body = kind.to_be_bytes().to_vec();
    if let Some(content) = content {
        body.extend(CONTENT_TYPE.to_be_bytes());
        body.extend((content.len() as u32).to_be_bytes());
        body.extend(content.as_bytes());
    }
    [&0u32.to_be_bytes()[..], &(body.len() as u32).to_be_bytes(), &body].concat()
}

/// The control frame that comes next: its kind, and its fields as they are.
fn read_control(stream: &mut impl Read) -> io::Result<(u32, Vec<u8>)> {
    let mut word = || {
        let mut bytes = [0; 4];
        stream.read_exact(&mut bytes).map(|()| u32::from_be_bytes(bytes))
    };
    if word()? != 0 {
        return Err(odd("it sent data"));
    }
    let length = word()?;
    if !(4..=MAX_CONTROL).contains(&length) {
        return Err(odd("it sent a control frame of an invalid length"));
    }
    let kind = word()?;
    let mut fields = vec![0; length as usize - 4];
    stream.read_exact(&mut fields)?;
    Ok((kind, fields))
}

/// True when a type of content is among the fields, or none is named.
fn offers(mut fields: &[u8], content: &str) -> bool {
    let none = fields.is_empty();
    while let Some(([a, b, c, d, e, f, g, h], rest)) = fields.split_first_chunk() {
        let (kind, length) = (u32::from_be_bytes([*a, *b, *c, *d]), u32::from_be_bytes([*e, *f, *g, *h]));
        let Some((value, rest)) = rest.split_at_checked(length as usize) else { return false };
        if kind == CONTENT_TYPE && value == content.as_bytes() {
            return true;
        }
        fields = rest;
    }
    none
}

fn odd(why: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the dnstap receiver does not speak Frame Streams: {why}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;
    use std::thread;

    /// Answers a handshake with this, then takes everything.
    fn receiver(answer: Vec<u8>, end: Option<u32>) -> (UnixStream, thread::JoinHandle<Vec<u8>>) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let receiver = thread::spawn(move || {
            let (kind, fields) = read_control(&mut theirs).unwrap();
            assert!(kind == READY && offers(&fields, "kind:of"));
            theirs.write_all(&answer).unwrap();
            if let Some(end) = end {
                theirs.write_all(&control(end, None)).unwrap();
            }
            let mut all = Vec::new();
            let _ = theirs.read_to_end(&mut all);
            all
        });
        (ours, receiver)
    }

    #[test]
    fn frames_follow_the_handshake() {
        let (stream, receiver) = receiver(control(ACCEPT, Some("kind:of")), Some(FINISH));
        let mut frames = Frames::begin(stream, "kind:of").unwrap();
        frames.send(b"one").unwrap();
        frames.finish().unwrap();
        let mut wanted = control(START, Some("kind:of"));
        wanted.extend(b"\0\0\0\x03one");
        wanted.extend(control(STOP, None));
        assert_eq!(receiver.join().unwrap(), wanted);
    }

    #[test]
    fn another_protocol_is_told() {
        for answer in [
            control(FINISH, None),
            control(ACCEPT, Some("other")),
            b"HTTP/1.1 400 \r\n\r\n".to_vec(),
            b"\0\0\0\0\xff\xff\xff\xff\0\0\0\x01".to_vec(),
            b"\0\0\0\0\0\0\0\x0c\0\0\0\x01\0\0\0\x01\0\0\x01\0".to_vec(),
        ] {
            let (stream, receiver) = receiver(answer, None);
            let error = Frames::begin(stream, "kind:of").unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
            receiver.join().unwrap();
        }
    }
}
