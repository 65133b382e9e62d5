//! The names of response codes: the one list for messages, logs and metrics.

use hickory_proto::op::ResponseCode;

/// A code by its name in the registry of DNS parameters (RFC 6895 section 2.3).
pub fn rcode_name(code: u16) -> Option<&'static str> {
    Some(match code {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        6 => "YXDOMAIN",
        7 => "YXRRSET",
        8 => "NXRRSET",
        9 => "NOTAUTH",
        10 => "NOTZONE",
        11 => "DSOTYPENI",
        16 => "BADVERS",
        17 => "BADKEY",
        18 => "BADTIME",
        19 => "BADMODE",
        20 => "BADNAME",
        21 => "BADALG",
        22 => "BADTRUNC",
        23 => "BADCOOKIE",
        _ => return None,
    })
}

/// A code as people write it; NODATA for success without data.
pub fn show_rcode(rcode: ResponseCode, empty: bool) -> String {
    match rcode_name(rcode.into()) {
        _ if empty && rcode == ResponseCode::NoError => "NODATA".into(),
        Some(name) => name.into(),
        None => format!("RCODE{}", u16::from(rcode)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_names_of_the_registry() {
        for (code, name) in
            [(0, "NOERROR"), (3, "NXDOMAIN"), (10, "NOTZONE"), (16, "BADVERS"), (23, "BADCOOKIE")]
        {
            assert_eq!(rcode_name(code), Some(name));
            assert_eq!(
                show_rcode(ResponseCode::from((code >> 4) as u8, code as u8 & 15), true),
                if code == 0 { "NODATA" } else { name }
            );
        }
        assert_eq!((rcode_name(12), rcode_name(24)), (None, None));
        assert_eq!(show_rcode(ResponseCode::Unknown(3841), false), "RCODE3841");
        assert_eq!(show_rcode(ResponseCode::NoError, false), "NOERROR");
    }
}
