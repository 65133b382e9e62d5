//! Mnemonics of numbers in record data: algorithms of DNSSEC and types of certificates, as IANA's lists and BIND's zone
//! files have them. They are read; numbers are shown.

/// Algorithms of DNSSEC (RFC 8624 and BIND's own words for the NSEC3 aliases).
const ALGORITHMS: &[(&str, u8)] = &[
    ("RSAMD5", 1),
    ("DH", 2),
    ("DSA", 3),
    ("ECC", 4),
    ("RSASHA1", 5),
    ("DSA-NSEC3-SHA1", 6),
    ("NSEC3DSA", 6),
    ("RSASHA1-NSEC3-SHA1", 7),
    ("NSEC3RSASHA1", 7),
    ("RSASHA256", 8),
    ("RSASHA512", 10),
    ("ECC-GOST", 12),
    ("ECCGOST", 12),
    ("ECDSAP256SHA256", 13),
    ("ECDSAP384SHA384", 14),
    ("ED25519", 15),
    ("ED448", 16),
    ("INDIRECT", 252),
    ("PRIVATEDNS", 253),
    ("PRIVATEOID", 254),
];

/// Types of certificates (RFC 4398 section 2.1).
const CERTIFICATES: &[(&str, u16)] = &[
    ("PKIX", 1),
    ("SPKI", 2),
    ("PGP", 3),
    ("IPKIX", 4),
    ("ISPKI", 5),
    ("IPGP", 6),
    ("ACPKIX", 7),
    ("IACPKIX", 8),
    ("URI", 253),
    ("OID", 254),
];

/// The number of an algorithm.
pub(super) fn algorithm(text: &str) -> Option<u8> {
    find(ALGORITHMS, text)
}

/// The number of a type of certificate.
pub(super) fn certificate_type(text: &str) -> Option<u16> {
    find(CERTIFICATES, text)
}

fn find<N: Copy>(table: &[(&str, N)], text: &str) -> Option<N> {
    table.iter().find(|(mnemonic, _)| mnemonic.eq_ignore_ascii_case(text)).map(|(_, number)| *number)
}
