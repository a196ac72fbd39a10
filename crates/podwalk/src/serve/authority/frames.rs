//! What of HTTP/2's frames is held back, and until when.
//!
//! Only a header block is: it is nothing to its receiver before it is complete
//! either. All else is passed on as it comes. There is no socket and no waiting
//! here: bytes in, bytes out.

use super::block::{NotUnderstood, mend_block, split};

/// RFC 9113, section 3.4.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// RFC 9113, sections 4.1 and 6.
const FRAME_HEADER: usize = 9;
const HEADERS: u8 = 0x1;
const CONTINUATION: u8 = 0x9;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
const PRIORITY_FIELDS: usize = 5;
/// SETTINGS_MAX_FRAME_SIZE, which our server leaves as it is.
const FRAME_MAX: usize = 16_384;
/// How much of one header block is held back, with its frame headers.
const HELD_MAX: usize = 64 * 1024;

/// A client's bytes, on their way in.
pub(super) struct Mending {
    phase: Phase,
    held: Vec<u8>,
}

/// Where in the client's bytes we are.
enum Phase {
    /// So many bytes of the preface have been seen.
    Preface(usize),
    /// So many bytes are left of a frame that is passed on.
    Passing(usize),
    /// A frame is held until its header says what it is; a header block, until
    /// it is complete. The last frame of what is held begins there.
    Holding(usize),
    /// Everything is passed on.
    Over,
}

/// What is done with a frame.
enum Verdict {
    Pass,
    Hold,
    GiveUp,
}

impl Mending {
    pub(super) fn new() -> Mending {
        Mending {
            phase: Phase::Preface(0),
            held: Vec::new(),
        }
    }

    /// Whether nothing is looked at any more.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// Passes on what is held, and from here on everything.
    pub(super) fn give_up(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.held);
        self.phase = Phase::Over;
    }

    /// Takes what has come, and adds to `out` what can be passed on.
    pub(super) fn take(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while !bytes.is_empty() {
            let taken = match self.phase {
                Phase::Preface(seen) => self.preface(seen, bytes, out),
                Phase::Passing(left) => self.pass(left, bytes, out),
                Phase::Holding(frame) => self.hold(frame, bytes, out),
                Phase::Over => {
                    out.extend_from_slice(bytes);
                    bytes.len()
                }
            };
            bytes = &bytes[taken..];
        }
    }

    /// The preface is passed on while it comes: who speaks another protocol may
    /// be waiting for an answer to a single byte.
    fn preface(&mut self, seen: usize, bytes: &[u8], out: &mut Vec<u8>) -> usize {
        let expected = &PREFACE[seen..];
        let length = expected.len().min(bytes.len());
        if bytes[..length] != expected[..length] {
            self.phase = Phase::Over;
            return 0;
        }
        out.extend_from_slice(&bytes[..length]);
        self.phase = match expected.len() - length {
            0 => Phase::Holding(0),
            _ => Phase::Preface(seen + length),
        };
        length
    }

    fn pass(&mut self, left: usize, bytes: &[u8], out: &mut Vec<u8>) -> usize {
        let length = left.min(bytes.len());
        out.extend_from_slice(&bytes[..length]);
        self.phase = passing(left - length);
        length
    }

    /// Takes what the frame at `frame` lacks: of its header, or of the whole.
    fn hold(&mut self, frame: usize, bytes: &[u8], out: &mut Vec<u8>) -> usize {
        let payload = FrameHeader::read(&self.held[frame..]).map_or(0, |header| header.length);
        let wanted = frame + FRAME_HEADER + payload;
        let length = (wanted - self.held.len()).min(bytes.len());
        self.held.extend_from_slice(&bytes[..length]);
        if let Some(header) = FrameHeader::read(&self.held[frame..]) {
            self.go_on(frame, header, out);
        }
        length
    }

    /// The header of the frame at `frame` is there, or more of the frame.
    fn go_on(&mut self, frame: usize, header: FrameHeader, out: &mut Vec<u8>) {
        match self.judge(frame, header) {
            Verdict::Pass => {
                out.append(&mut self.held);
                self.phase = passing(header.length);
            }
            Verdict::GiveUp => self.give_up(out),
            Verdict::Hold if self.held.len() < frame + FRAME_HEADER + header.length => {}
            Verdict::Hold if header.flags & END_HEADERS == 0 => {
                self.phase = Phase::Holding(self.held.len())
            }
            Verdict::Hold => self.mend(out),
        }
    }

    fn judge(&self, frame: usize, header: FrameHeader) -> Verdict {
        let opened = FrameHeader::read(&self.held[..frame]);
        let size = frame + FRAME_HEADER + header.length;
        let fits = header.length <= FRAME_MAX && size <= HELD_MAX;
        match (opened, header.kind) {
            (None, HEADERS) if fits => Verdict::Hold,
            (Some(first), CONTINUATION) if fits && first.stream == header.stream => Verdict::Hold,
            // Another frame within a block (RFC 9113, section 6.10), or too much.
            (Some(_), _) | (None, HEADERS) => Verdict::GiveUp,
            (None, _) => Verdict::Pass,
        }
    }

    /// A header block is complete.
    fn mend(&mut self, out: &mut Vec<u8>) {
        match mend_frames(&self.held) {
            Ok(None) => out.append(&mut self.held),
            Ok(Some(mended)) => {
                out.extend_from_slice(&mended);
                self.held.clear();
            }
            Err(NotUnderstood) => return self.give_up(out),
        }
        self.phase = Phase::Holding(0);
    }
}

fn passing(left: usize) -> Phase {
    match left {
        0 => Phase::Holding(0),
        _ => Phase::Passing(left),
    }
}

/// RFC 9113, section 4.1.
#[derive(Clone, Copy)]
struct FrameHeader {
    length: usize,
    kind: u8,
    flags: u8,
    stream: [u8; 4],
}

impl FrameHeader {
    fn read(bytes: &[u8]) -> Option<FrameHeader> {
        let (&[a, b, c, kind, flags, ref stream @ ..], _) =
            bytes.split_first_chunk::<FRAME_HEADER>()?;
        Some(FrameHeader {
            length: usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c),
            kind,
            flags,
            stream: *stream,
        })
    }
}

/// A header block's frames, mended and made one; none when nothing is to be
/// mended.
fn mend_frames(mut frames: &[u8]) -> Result<Option<Vec<u8>>, NotUnderstood> {
    let first = FrameHeader::read(frames).ok_or(NotUnderstood)?;
    let mut priority: &[u8] = &[];
    let mut block = Vec::new();
    while let Some(header) = FrameHeader::read(frames) {
        let (frame, rest) = split(frames, FRAME_HEADER + header.length)?;
        let mut fragment = &frame[FRAME_HEADER..];
        if header.kind == HEADERS {
            (priority, fragment) = unpack(header.flags, fragment)?;
        }
        block.extend_from_slice(fragment);
        frames = rest;
    }
    let Some(block) = mend_block(&block)? else {
        return Ok(None);
    };
    let length = priority.len() + block.len();
    if length > FRAME_MAX {
        return Err(NotUnderstood);
    }
    let [.., a, b, c] = length.to_be_bytes();
    // There is nothing left for padding to hide.
    let flags = (first.flags & !PADDED) | END_HEADERS;
    let mut mended = vec![a, b, c, HEADERS, flags];
    mended.extend_from_slice(&first.stream);
    mended.extend_from_slice(priority);
    mended.extend_from_slice(&block);
    Ok(Some(mended))
}

/// The priority fields and the fragment of a HEADERS frame (RFC 9113, section
/// 6.2), without its padding.
fn unpack(flags: u8, mut payload: &[u8]) -> Result<(&[u8], &[u8]), NotUnderstood> {
    if flags & PADDED != 0 {
        let (&padding, rest) = payload.split_first().ok_or(NotUnderstood)?;
        let length = rest.len().checked_sub(usize::from(padding));
        (payload, _) = split(rest, length.ok_or(NotUnderstood)?)?;
    }
    match flags & PRIORITY {
        0 => Ok((&[], payload)),
        _ => split(payload, PRIORITY_FIELDS),
    }
}
