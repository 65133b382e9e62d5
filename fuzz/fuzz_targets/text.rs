//! Any text as a name and as a value of any type, and any octets as record data and as a message: no panic; what is
//! read is shown as text that reads back to the same octets, and what is shown is printable ASCII.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pvtzd::engine::text::{
    parse, printable, printable_octets, read_data, read_message, show, show_data, unicode,
};

fuzz_target!(|input: (u16, &[u8])| {
    let (code, octets) = input;
    let _ = read_message(octets);
    let shown = show_data(code, octets);
    assert!(shown.bytes().all(|octet| matches!(octet, b' '..=b'~')), "{shown}");
    if let Ok(data) = read_data(code, &shown) {
        assert_eq!(show_data(code, &data), shown);
    }
    assert!(!printable_octets(octets).contains(char::is_control));
    let Ok(text) = std::str::from_utf8(octets) else { return };
    match parse(text) {
        Ok(name) => {
            assert_eq!(parse(&show(&name)).as_ref(), Ok(&name));
            let _ = unicode(&name);
        }
        Err(why) => assert_eq!(printable(&why), why),
    }
    match read_data(code, text) {
        // an alias with parameters can only be written in the generic form
        Ok(data) if matches!(code, 64 | 65) && data.starts_with(&[0, 0]) => {}
        Ok(data) => assert_eq!(read_data(code, &show_data(code, &data)), Ok(data)),
        Err(why) => assert!(!why.is_empty()),
    }
});
