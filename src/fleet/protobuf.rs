//! The part of protobuf that etcd's messages need: varints and fields with a length. Reading borrows from the message and
//! allocates nothing, so that what a server claims costs no memory.

/// Writes a message field by field. Fields with the default value are left out, as the format wants it.
#[derive(Clone, Debug, Default)]
pub(super) struct ProtoWriter(Vec<u8>);

impl ProtoWriter {
    /// A number.
    pub(super) fn int(mut self, field: u32, value: i64) -> Self {
        if value != 0 {
            self.tag(field, VARINT);
            self.varint(value as u64);
        }
        self
    }

    /// A truth value.
    pub(super) fn flag(self, field: u32, value: bool) -> Self {
        self.int(field, value.into())
    }

    /// Octets or a text.
    pub(super) fn bytes(mut self, field: u32, value: &[u8]) -> Self {
        if !value.is_empty() {
            self.put_bytes(field, value);
        }
        self
    }

    /// A message in a message, written even if it is empty.
    pub(super) fn message(mut self, field: u32, value: ProtoWriter) -> Self {
        self.put_bytes(field, &value.0);
        self
    }

    /// The message.
    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }

    fn put_bytes(&mut self, field: u32, value: &[u8]) {
        self.tag(field, LENGTH);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    fn tag(&mut self, field: u32, kind: u64) {
        self.varint(u64::from(field) << 3 | kind);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH: u64 = 2;
const FIXED32: u64 = 5;

/// A message that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProtoFault;

/// A field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProtoValue<'a> {
    /// A number, or one of fixed width.
    Number(u64),
    /// Octets, a text or a message.
    Bytes(&'a [u8]),
}

impl<'a> ProtoValue<'a> {
    /// As a number.
    pub(super) fn int(self) -> Result<i64, ProtoFault> {
        match self {
            Self::Number(number) => Ok(number as i64),
            Self::Bytes(_) => Err(ProtoFault),
        }
    }

    /// As octets.
    pub(super) fn bytes(self) -> Result<&'a [u8], ProtoFault> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Number(_) => Err(ProtoFault),
        }
    }

    /// As a text; what is not UTF-8 is replaced.
    pub(super) fn text(self) -> Result<String, ProtoFault> {
        self.bytes().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }
}

/// Calls `each` for every field of a message.
pub(super) fn fields<'a>(
    mut message: &'a [u8],
    mut each: impl FnMut(u32, ProtoValue<'a>) -> Result<(), ProtoFault>,
) -> Result<(), ProtoFault> {
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        let field = u32::try_from(tag >> 3).map_err(|_| ProtoFault)?;
        let value = match tag & 7 {
            VARINT => ProtoValue::Number(varint(&mut message)?),
            FIXED64 => ProtoValue::Number(fixed(&mut message, 8)?),
            FIXED32 => ProtoValue::Number(fixed(&mut message, 4)?),
            LENGTH => {
                let length = usize::try_from(varint(&mut message)?).map_err(|_| ProtoFault)?;
                let (bytes, rest) = message.split_at_checked(length).ok_or(ProtoFault)?;
                message = rest;
                ProtoValue::Bytes(bytes)
            }
            _ => return Err(ProtoFault),
        };
        each(field, value)?;
    }
    Ok(())
}

fn varint(message: &mut &[u8]) -> Result<u64, ProtoFault> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (octet, rest) = message.split_first().ok_or(ProtoFault)?;
        *message = rest;
        value |= u64::from(octet & 0x7f) << shift;
        if octet & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(ProtoFault)
}

fn fixed(message: &mut &[u8], length: usize) -> Result<u64, ProtoFault> {
    let (bytes, rest) = message.split_at_checked(length).ok_or(ProtoFault)?;
    *message = rest;
    Ok(bytes.iter().rev().fold(0, |value, octet| value << 8 | u64::from(*octet)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(number: i64, text: Vec<u8>, field in 1u32..1000) {
            let inner = ProtoWriter::default().int(1, number);
            let message = ProtoWriter::default().int(field, number).bytes(field, &text).message(field, inner.clone());
            let message = message.finish();
            let mut seen = Vec::new();
            fields(&message, |at, value| { seen.push((at, value)); Ok(()) }).unwrap();
            let inner = inner.finish();
            let mut expected = Vec::new();
            if number != 0 { expected.push((field, ProtoValue::Number(number as u64))); }
            if !text.is_empty() { expected.push((field, ProtoValue::Bytes(&text))); }
            expected.push((field, ProtoValue::Bytes(&inner)));
            prop_assert_eq!(seen, expected);
        }

        #[test]
        fn any_octets_end(octets: Vec<u8>) {
            let mut count = 0;
            let _ = fields(&octets, |_, _| { count += 1; Ok(()) });
            prop_assert!(count <= octets.len());
        }
    }

    #[test]
    fn what_is_cut_or_endless_is_a_fault() {
        let all = |message: &[u8]| fields(message, |_, _| Ok(()));
        assert_eq!(all(&[0x0a, 0x05, 1, 2]), Err(ProtoFault), "shorter than it says");
        assert_eq!(all(&[0x08; 1]), Err(ProtoFault));
        assert_eq!(all(&[0x80; 20]), Err(ProtoFault));
        assert_eq!(all(&[0x0b]), Err(ProtoFault), "a group");
        assert_eq!(all(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]), Err(ProtoFault));
        assert_eq!(all(&[]), Ok(()));
    }
}
