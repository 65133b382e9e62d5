//! THE table of what record data consist of, type by type. Printing, reading and the expansion of compressed names
//! all follow it. A type that is not in it has the generic form (RFC 3597 section 5).

/// A part of record data. The word beside a number is what messages call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// A number of one octet.
    U8(&'static str),
    /// A number of two octets.
    U16(&'static str),
    /// A number of four octets.
    U32(&'static str),
    /// A number of seconds in four octets, in text also with units.
    Period(&'static str),
    /// The algorithm of a key or of a signature: an octet, in text also by mnemonic.
    Algorithm,
    /// The type of a certificate: two octets, in text also by mnemonic.
    CertificateType,
    /// A moment of a signature: YYYYMMDDHHmmSS (RFC 4034 section 3.2).
    Time,
    /// A record type, by mnemonic.
    Rtype,
    /// An IPv4 address.
    V4,
    /// An IPv6 address.
    V6,
    /// A domain name.
    Name,
    /// A character string: its length in an octet.
    String,
    /// Character strings to the end, at least one.
    Strings,
    /// A string to the end, without a length.
    Text,
    /// The tag of CAA: letters and digits behind their length.
    Tag,
    /// Octets to the end in hexadecimal, at least one.
    Hex,
    /// Octets to the end in base64, at least one.
    Base64,
    /// A salt behind its length, in hexadecimal, `-` where it is empty (RFC 5155 section 3.3).
    Salt,
    /// A hash behind its length, in base32hex.
    Hash,
    /// Record types to the end, as a bitmap (RFC 4034 section 4.1.2).
    Bitmap,
    /// Eight octets in four groups (RFC 6742).
    Node,
    /// Octets separated by dashes (RFC 7043): this many.
    Eui(usize),
    /// NSAP: `0x` and hexadecimal to the end (RFC 1706).
    Nsap,
    /// Service parameters to the end (RFC 9460).
    Params,
    /// A place on earth (RFC 1876).
    Place,
    /// Address prefixes to the end (RFC 3123).
    Prefixes,
    /// Kind of gateway, algorithm, gateway and the key to the end (RFC 4025).
    Gateway,
}

/// The parts of a type's data.
pub(super) fn layout(code: u16) -> Option<&'static [Field]> {
    use self::Field::*;
    Some(match code {
        1 => &[V4],
        2..=5 | 7..=9 | 12 | 23 | 39 => &[Name],
        6 => &[
            Name,
            Name,
            U32("serial"),
            Period("refresh interval"),
            Period("retry interval"),
            Period("expiry"),
            Period("minimum TTL"),
        ],
        13 => &[String, String],
        14 | 17 | 58 => &[Name, Name],
        15 | 21 | 36 => &[U16("preference"), Name],
        16 | 56 | 99 | 258 | 261 | 262 => &[Strings],
        18 => &[U16("subtype"), Name],
        19 => &[String],
        20 => &[Strings],
        22 => &[Nsap],
        24 | 46 => &[
            Rtype,
            Algorithm,
            U8("number of labels"),
            Period("TTL"),
            Time,
            Time,
            U16("key tag"),
            Name,
            Base64,
        ],
        25 | 48 | 57 | 60 => &[U16("flags"), U8("protocol"), Algorithm, Base64],
        26 => &[U16("preference"), Name, Name],
        27 => &[String, String, String],
        28 => &[V6],
        29 => &[Place],
        33 => &[U16("priority"), U16("weight"), U16("port"), Name],
        35 => &[U16("order"), U16("preference"), String, String, String, Name],
        37 => &[CertificateType, U16("key tag"), Algorithm, Base64],
        42 => &[Prefixes],
        43 | 59 | 32768 | 32769 => &[U16("key tag"), Algorithm, U8("digest type"), Hex],
        44 => &[U8("algorithm"), U8("fingerprint type"), Hex],
        45 => &[U8("precedence"), Gateway],
        47 => &[Name, Bitmap],
        49 | 61 | 67 | 68 => &[Base64],
        50 => &[U8("hash algorithm"), U8("flags"), U16("iterations"), Salt, Hash, Bitmap],
        51 => &[U8("hash algorithm"), U8("flags"), U16("iterations"), Salt],
        52 | 53 => &[U8("certificate usage"), U8("selector"), U8("matching type"), Hex],
        62 => &[U32("serial"), U16("flags"), Bitmap],
        63 => &[U32("serial"), U8("scheme"), U8("hash algorithm"), Hex],
        64 | 65 => &[U16("priority"), Name, Params],
        66 => &[Rtype, U8("scheme"), U16("port"), Name],
        104 | 106 => &[U16("preference"), Node],
        105 => &[U16("preference"), V4],
        107 => &[U16("preference"), Name],
        108 => &[Eui(6)],
        109 => &[Eui(8)],
        256 => &[U16("priority"), U16("weight"), Text],
        257 => &[U8("flags"), Tag, Text],
        _ => return None,
    })
}

/// True for types whose names a server may have compressed: those of RFC 1035, and those of which RFC 3597 section 4
/// says that they are read so.
pub(super) fn may_be_compressed(code: u16) -> bool {
    matches!(code, 2..=9 | 12 | 14 | 15 | 17 | 18 | 21 | 24 | 26 | 33 | 35 | 36 | 39)
}

impl Field {
    /// Words that a value takes for the field; nothing where it takes all that are left.
    pub(super) fn words(self) -> Option<usize> {
        use self::Field::*;
        match self {
            Strings | Hex | Base64 | Bitmap | Params | Place | Prefixes | Gateway => None,
            _ => Some(1),
        }
    }
}
