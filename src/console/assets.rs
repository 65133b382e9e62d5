//! The pages: files that are parts of the program. A path is looked up in a table, and so leads to nothing else.

use super::reply::text;
use crate::http::pages::{PageBody, PageResponse};
use data_encoding::BASE64URL_NOPAD;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH};
use hyper::{Response, StatusCode};
use ring::digest::{SHA256, digest};

/// Octets of all files.
#[cfg(test)]
const MOST: usize = 120 << 10;

/// A file of the table.
macro_rules! page {
    ($name:literal) => {
        ($name, include_bytes!(concat!("pages/", $name)))
    };
}

/// The files by their paths.
const PAGES: &[(&str, &[u8])] = &[
    page!("index.html"),
    page!("console.css"),
    page!("icon.svg"),
    page!("main.js"),
    page!("dom.js"),
    page!("call.js"),
    page!("words.js"),
    page!("recipe.js"),
    page!("zones.js"),
    page!("zone.js"),
    page!("explain.js"),
    page!("live.js"),
    page!("state.js"),
    page!("forward.js"),
    page!("transfer.js"),
];

/// The page of a path below the console's; the empty one is the first.
pub(super) fn page(path: &str, headers: &HeaderMap) -> PageResponse {
    let path = if path.is_empty() { "index.html" } else { path };
    let Some((_, octets)) = PAGES.iter().find(|(name, _)| *name == path) else {
        return text(StatusCode::NOT_FOUND, "there is no such page");
    };
    let tag = format!("\"{}\"", BASE64URL_NOPAD.encode(&digest(&SHA256, octets).as_ref()[..12]));
    let is_known = headers.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut response = Response::new(PageBody::Static(if is_known { &[] } else { octets }));
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind(path)));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    response
}

/// The media type of a file.
fn kind(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "text/javascript; charset=utf-8",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_files_are_small_and_none_is_forgotten() {
        let all: usize = PAGES.iter().map(|(_, octets)| octets.len()).sum();
        assert!(all <= MOST, "{all} octets");
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/console/pages");
        for file in std::fs::read_dir(folder).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            assert!(PAGES.iter().any(|(known, _)| *known == name), "{name} is not in the table");
        }
    }

    /// Names from queries are hostile text: they reach the document as text, never as markup or code.
    #[test]
    fn no_page_makes_markup_or_code_of_text() {
        for (name, octets) in PAGES {
            let text = std::str::from_utf8(octets).unwrap();
            for sink in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
                "createContextualFragment",
                "setTimeout('",
                "javascript:",
                "srcdoc",
                "localStorage.token",
            ] {
                assert!(!text.contains(sink), "{name}: {sink}");
            }
            for outside in ["http://", "https://"] {
                let rest = text.replace("http://www.w3.org/2000/svg", "").replace("http://127.0.0.1", "");
                let links =
                    rest.match_indices(outside).filter(|(at, _)| !rest[*at..].starts_with("https://${"));
                assert_eq!(links.count(), 0, "{name}: {outside}");
            }
        }
    }

    #[test]
    fn a_path_leads_to_a_file_of_the_table_alone() {
        let none = HeaderMap::new();
        for path in
            ["../mod.rs", "..%2fmod.rs", "/etc/passwd", "index.html/", "INDEX.HTML", "pages/index.html"]
        {
            assert_eq!(page(path, &none).status(), StatusCode::NOT_FOUND, "{path}");
        }
        let first = page("", &none);
        assert_eq!(first.status(), StatusCode::OK);
        let mut known = HeaderMap::new();
        known.insert(IF_NONE_MATCH, first.headers()[ETAG].clone());
        assert_eq!(page("index.html", &known).status(), StatusCode::NOT_MODIFIED);
    }
}
