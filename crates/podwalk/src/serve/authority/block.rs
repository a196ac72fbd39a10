//! The one field of a header block that is mended.
//!
//! A block is read without the dynamic table (RFC 7541, section 2.3.2): what it
//! holds came through here as a literal once, and was mended then. Only a new
//! value with a name from the dynamic table is not seen; `:authority` has its
//! place in the static one, which encoders look into first.

use std::borrow::Cow;

use axum::http::uri;
use httlib_huffman::DecoderSpeed;

/// What cannot be read here, or not be mended.
#[derive(Debug, PartialEq)]
pub(super) struct NotUnderstood;

/// `:authority`, by its place in the static table (RFC 7541, appendix A).
const AUTHORITY_INDEX: usize = 1;
const AUTHORITY: &[u8] = b":authority";

/// A header block with its `:authority` mended; none when it has none that
/// needs it.
pub(super) fn mend_block(block: &[u8]) -> Result<Option<Vec<u8>>, NotUnderstood> {
    let mut reader = Reader { rest: block };
    let mut mended = Vec::new();
    let mut kept = 0;
    while !reader.rest.is_empty() {
        if !reader.name_is_authority()? {
            continue;
        }
        let begin = block.len() - reader.rest.len();
        let value = reader.text()?.decoded()?;
        if value.is_empty() || uri::Authority::try_from(&*value).is_ok() {
            continue;
        }
        mended.extend_from_slice(&block[kept..begin]);
        write_integer(value.len(), 7, &mut mended);
        mended.extend(value.iter().map(|byte| in_host(*byte)));
        kept = block.len() - reader.rest.len();
    }
    if kept == 0 {
        return Ok(None);
    }
    mended.extend_from_slice(&block[kept..]);
    Ok(Some(mended))
}

/// What a host's name can be written with (RFC 3986, section 3.2.2).
fn in_host(byte: u8) -> u8 {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' => byte,
        _ => b'-',
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

/// A string literal (RFC 7541, section 5.2).
struct Text<'a> {
    huffman: bool,
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads one representation (RFC 7541, section 6). Of a literal whose name
    /// is `:authority`, the value is left to be read.
    fn name_is_authority(&mut self) -> Result<bool, NotUnderstood> {
        let literal_prefix = match self.rest.first().ok_or(NotUnderstood)? {
            // An indexed field.
            0x80.. => return self.integer(7).map(|_| false),
            // A literal, with incremental indexing.
            0x40.. => 6,
            // An update of the dynamic table's size.
            0x20.. => return self.integer(5).map(|_| false),
            // A literal, without indexing or never indexed.
            _ => 4,
        };
        let authority = match self.integer(literal_prefix)? {
            0 => *self.text()?.decoded()? == *AUTHORITY,
            index => index == AUTHORITY_INDEX,
        };
        if !authority {
            self.text()?;
        }
        Ok(authority)
    }

    fn text(&mut self) -> Result<Text<'a>, NotUnderstood> {
        let huffman = self.rest.first().ok_or(NotUnderstood)? & 0x80 != 0;
        let length = self.integer(7)?;
        let (bytes, rest) = split(self.rest, length)?;
        self.rest = rest;
        Ok(Text { huffman, bytes })
    }

    /// An integer whose prefix has `bits` bits (RFC 7541, section 5.1).
    fn integer(&mut self, bits: u32) -> Result<usize, NotUnderstood> {
        let most = (1 << bits) - 1;
        let mut value = usize::from(self.byte()?) & most;
        if value < most {
            return Ok(value);
        }
        // More could be written in more, and would be more than is ever held.
        for shift in [0, 7, 14, 21] {
            let byte = usize::from(self.byte()?);
            value += (byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(NotUnderstood)
    }

    fn byte(&mut self) -> Result<u8, NotUnderstood> {
        let (&byte, rest) = self.rest.split_first().ok_or(NotUnderstood)?;
        self.rest = rest;
        Ok(byte)
    }
}

impl<'a> Text<'a> {
    fn decoded(&self) -> Result<Cow<'a, [u8]>, NotUnderstood> {
        if !self.huffman {
            return Ok(Cow::Borrowed(self.bytes));
        }
        let mut decoded = Vec::new();
        httlib_huffman::decode(self.bytes, &mut decoded, DecoderSpeed::OneBit)
            .map_err(|_| NotUnderstood)?;
        // There is one way to encode a string. The decoder is less strict about
        // the bits at the end than it must be.
        let mut again = Vec::new();
        httlib_huffman::encode(&decoded, &mut again).map_err(|_| NotUnderstood)?;
        match again == self.bytes {
            true => Ok(Cow::Owned(decoded)),
            false => Err(NotUnderstood),
        }
    }
}

fn write_integer(value: usize, bits: u32, out: &mut Vec<u8>) {
    let most = (1 << bits) - 1;
    let mut rest = value.saturating_sub(most);
    out.push(value.min(most).to_le_bytes()[0]);
    if value < most {
        return;
    }
    while rest > 0x7f {
        out.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    out.push(rest.to_le_bytes()[0]);
}

pub(super) fn split(bytes: &[u8], at: usize) -> Result<(&[u8], &[u8]), NotUnderstood> {
    bytes.split_at_checked(at).ok_or(NotUnderstood)
}
