//! The bookkeeping that every batch updates, so that what sled might lose in
//! silence is noticed at the next opening.

/// How many pairs there are, what they add up to, and after how many batches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Meta {
    /// Batches so far: the journal's global sequence.
    pub(crate) batches: u64,
    /// What they have left.
    pub(crate) census: Census,
}

/// A count and a sum over all pairs of key and value, in any order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Census {
    /// How many pairs there are.
    pub pairs: u64,
    /// The sum, modulo 2^64, of the CRC32C of each pair.
    pub sum: u64,
}

impl Census {
    /// Counts a pair in.
    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) {
        self.pairs = self.pairs.wrapping_add(1);
        self.sum = self.sum.wrapping_add(checksum(key, value));
    }

    /// Counts a pair out.
    pub(crate) fn subtract(&mut self, key: &[u8], value: &[u8]) {
        self.pairs = self.pairs.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(checksum(key, value));
    }
}

fn checksum(key: &[u8], value: &[u8]) -> u64 {
    u64::from(crc32c::crc32c_append(crc32c::crc32c(key), value))
}

impl Meta {
    /// Its value: three little-endian integers.
    pub(crate) fn bytes(&self) -> [u8; 24] {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&self.batches.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.census.pairs.to_le_bytes());
        bytes[16..].copy_from_slice(&self.census.sum.to_le_bytes());
        bytes
    }

    /// Reads it; none for anything else than three integers.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Meta> {
        let bytes: &[u8; 24] = bytes.try_into().ok()?;
        let (batches, rest) = bytes.split_first_chunk()?;
        let (pairs, rest) = rest.split_first_chunk()?;
        Some(Meta {
            batches: u64::from_le_bytes(*batches),
            census: Census {
                pairs: u64::from_le_bytes(*pairs),
                sum: u64::from_le_bytes(rest.try_into().ok()?),
            },
        })
    }
}

#[cfg(test)]
mod tests;
