//! A PKCS #12 store of trusted certificates (RFC 7292), as Java reads it: without a password, since certificates are
//! no secret, and with the attribute by which Java knows a certificate as trusted.

/// Object identifiers, encoded: the content type `data`, a bag of a certificate, an X.509 certificate, the attribute
/// `friendlyName`, Java's attribute `trustedKeyUsage`, and any usage.
const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
const CERT_BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01, 0x03];
const X509: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x16, 0x01];
const FRIENDLY_NAME: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x14];
const TRUSTED_KEY_USAGE: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x86, 0xf9, 0x66, 0xad, 0xca, 0x7b, 0x01, 0x01];
const ANY_USAGE: &[u8] = &[0x55, 0x1d, 0x25, 0x00];

/// Tags of DER.
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OBJECT: u8 = 0x06;
const BMP_STRING: u8 = 0x1e;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const EXPLICIT: u8 = 0xa0;

/// The store with these certificates, each in DER.
pub fn store<'c>(certificates: impl IntoIterator<Item = &'c [u8]>) -> Vec<u8> {
    let bags: Vec<u8> = certificates
        .into_iter()
        .enumerate()
        .flat_map(|(place, der)| bag(&format!("ca-{place}"), der))
        .collect();
    let contents = data(&value(SEQUENCE, &[&bags]));
    let safe = data(&value(SEQUENCE, &[&contents]));
    value(SEQUENCE, &[&value(INTEGER, &[&[3]]), &safe])
}

/// A bag with one certificate.
fn bag(name: &str, der: &[u8]) -> Vec<u8> {
    let certificate = value(EXPLICIT, &[&value(OCTET_STRING, &[der])]);
    let certificate = value(SEQUENCE, &[&value(OBJECT, &[X509]), &certificate]);
    let name: Vec<u8> = name.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let attribute = |id, content: &[u8]| value(SEQUENCE, &[&value(OBJECT, &[id]), &value(SET, &[content])]);
    let attributes = value(
        SET,
        &[
            &attribute(FRIENDLY_NAME, &value(BMP_STRING, &[&name])),
            &attribute(TRUSTED_KEY_USAGE, &value(OBJECT, &[ANY_USAGE])),
        ],
    );
    value(SEQUENCE, &[&value(OBJECT, &[CERT_BAG]), &value(EXPLICIT, &[&certificate]), &attributes])
}

/// Content of the type `data`.
fn data(octets: &[u8]) -> Vec<u8> {
    let content = value(EXPLICIT, &[&value(OCTET_STRING, &[octets])]);
    value(SEQUENCE, &[&value(OBJECT, &[DATA]), &content])
}

/// A value of DER: tag, length, content.
fn value(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut octets = vec![tag];
    match u8::try_from(length) {
        Ok(short @ ..0x80) => octets.push(short),
        _ => {
            let long: Vec<u8> = length.to_be_bytes().into_iter().skip_while(|octet| *octet == 0).collect();
            octets.push(0x80 | u8::try_from(long.len()).unwrap_or_default());
            octets.extend(long);
        }
    }
    parts.iter().for_each(|part| octets.extend(*part));
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_as_short_as_they_can_be() {
        assert_eq!(value(OCTET_STRING, &[&[7; 2]]), [4, 2, 7, 7]);
        assert_eq!(value(OCTET_STRING, &[&[0; 127]])[..2], [4, 127]);
        assert_eq!(value(OCTET_STRING, &[&[0; 128]])[..3], [4, 0x81, 128]);
        assert_eq!(value(OCTET_STRING, &[&[0; 200], &[0; 56]])[..4], [4, 0x82, 1, 0]);
    }

    #[test]
    fn a_store_without_certificates_is_whole() {
        let octets = store([]);
        assert_eq!(octets[..5], [SEQUENCE, octets.len() as u8 - 2, INTEGER, 1, 3]);
    }
}
