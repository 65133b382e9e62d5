//! Answers and refusals as octets: JSON, or XML if the client requests it. All responses of the gateway are made here.
//!
//! Clients are strict about the form: every field of a refusal is present and a string, and a success has no top-level
//! `Code`, by which some of them detect a failure.

use super::ApiError;
use super::request::AnswerFormat;
use serde_json::{Map, Value};

/// Octets of a refusal's message for a caller with a valid signature.
const MAX_MESSAGE: usize = 64 << 10;

/// Octets of a `Host` header that a refusal repeats: a name has no more.
const MAX_HOST: usize = 255;

/// A finished HTTP response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiReply {
    /// The HTTP status.
    pub status: u16,
    /// The `Content-Type`.
    pub content_type: &'static str,
    /// Also in the header `x-acs-request-id`.
    pub request_id: String,
    /// In the header `x-pvtzd-revision`: the revision of the fleet that the answer is taken from.
    pub revision: Option<i64>,
    /// The body.
    pub body: Vec<u8>,
}

/// The response for an answer's fields and its `RequestId`.
pub fn success(format: AnswerFormat, action: &str, mut fields: Map<String, Value>) -> ApiReply {
    if fields.remove("Code").is_some() {
        tracing::error!(action, "an answer has a top-level Code, by which clients know failures: left out");
    }
    let request_id = request_id();
    fields.insert("RequestId".into(), request_id.clone().into());
    written(format, 200, &format!("{action}Response"), &fields, request_id)
}

/// A refusal. `host` is the request's `Host` header.
pub fn refusal(format: AnswerFormat, error: &ApiError, host: &str) -> ApiReply {
    let request_id = request_id();
    let error = error.clone().cut_to(MAX_MESSAGE);
    let host: String = host.chars().take(MAX_HOST).collect();
    let recommend =
        format!("https://api.aliyun.com/troubleshoot?q={}", super::sign::percent_encoded(&error.code));
    let fields = [
        ("RequestId", request_id.as_str()),
        ("HostId", &host),
        ("Code", &error.code),
        ("Message", &error.message),
        ("Recommend", &recommend),
    ];
    let mut told = Map::new();
    told.extend(fields.map(|(name, value)| (name.to_string(), value.into())));
    written(format, error.status, "Error", &told, request_id)
}

/// The response for a map of fields.
fn written(
    format: AnswerFormat,
    status: u16,
    root: &str,
    fields: &Map<String, Value>,
    request_id: String,
) -> ApiReply {
    let (content_type, body) = match format {
        AnswerFormat::Json => {
            // Serialisation of such a map does not fail; if it did, an empty object is still JSON.
            let body = serde_json::to_vec(fields).unwrap_or_else(|_| b"{}".into());
            ("application/json;charset=utf-8", body)
        }
        AnswerFormat::Xml => {
            let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>");
            let root = element_name(root);
            text += &format!("<{root}>");
            fields.iter().for_each(|(name, value)| element(&mut text, name, value));
            text += &format!("</{root}>");
            ("text/xml;charset=utf-8", text.into_bytes())
        }
    };
    ApiReply { status, content_type, request_id, revision: None, body }
}

/// One element for a value; for a list one for each of its items, for null none.
fn element(out: &mut String, name: &str, value: &Value) {
    if let Value::Array(items) = value {
        return items.iter().for_each(|item| element(out, name, item));
    }
    let name = element_name(name);
    let open = |out: &mut String| *out += &format!("<{name}>");
    match value {
        Value::Null | Value::Array(_) => return,
        Value::Object(fields) => {
            open(out);
            fields.iter().for_each(|(name, value)| element(out, name, value));
        }
        Value::String(text) => {
            open(out);
            escape(out, text);
        }
        Value::Bool(_) | Value::Number(_) => {
            open(out);
            *out += &value.to_string();
        }
    }
    *out += &format!("</{name}>");
}

/// A valid XML name: the root element has the action's name as sent by the caller.
fn element_name(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let mut fitted: String = name.chars().map(|c| if fits(c) { c } else { '_' }).collect();
    if !fitted.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        fitted.insert(0, '_');
    }
    fitted
}

/// Text between tags. Characters that XML 1.0 does not allow (section 2.2) become U+FFFD.
fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '<' => *out += "&lt;",
            '>' => *out += "&gt;",
            '&' => *out += "&amp;",
            '"' => *out += "&quot;",
            '\'' => *out += "&apos;",
            '\r' => *out += "&#13;", // an XML parser reads a plain CR as a line feed
            '\t' | '\n' => out.push(c),
            '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            _ => out.push(c),
        }
    }
}

/// A version 4 UUID (RFC 9562) in upper case. It identifies a request in logs and is no secret: without random octets
/// from the kernel it is not unique, but the request is still answered.
fn request_id() -> String {
    let mut bytes = [0; 16];
    let _ = getrandom::fill(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = data_encoding::HEXUPPER.encode(&bytes);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn text(reply: &ApiReply) -> &str {
        std::str::from_utf8(&reply.body).unwrap()
    }

    fn fields(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_success_is_flat_and_has_no_code() {
        let reply = success(AnswerFormat::Json, "AddZone", fields(json!({"ZoneId": "z", "Code": "1"})));
        let body: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(body, json!({"ZoneId": "z", "RequestId": reply.request_id}));
        assert_eq!((reply.status, reply.content_type), (200, "application/json;charset=utf-8"));
    }

    #[test]
    fn a_refusal_has_five_strings() {
        let error = ApiError::new("Zone.NotExists", "Zone is not exists");
        let reply = refusal(AnswerFormat::Json, &error, "http://127.0.0.1:8480");
        let body: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(
            body,
            json!({
                "RequestId": reply.request_id,
                "HostId": "http://127.0.0.1:8480",
                "Code": "Zone.NotExists",
                "Message": "Zone is not exists",
                "Recommend": "https://api.aliyun.com/troubleshoot?q=Zone.NotExists",
            })
        );
    }

    #[test]
    fn xml_repeats_the_elements_of_lists() {
        let answer = json!({
            "Zones": {"Zone": [{"ZoneId": "a", "RecordCount": 1, "IsPtr": false}, {"ZoneId": "b"}]},
            "Rules": [{"Id": "r"}],
            "Empty": [],
            "Remark": "",
            "None": null,
        });
        let reply = success(AnswerFormat::Xml, "DescribeZones", fields(answer));
        let expected = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><DescribeZonesResponse><Zones>\
             <Zone><ZoneId>a</ZoneId><RecordCount>1</RecordCount><IsPtr>false</IsPtr></Zone>\
             <Zone><ZoneId>b</ZoneId></Zone></Zones><Rules><Id>r</Id></Rules><Remark></Remark>\
             <RequestId>{}</RequestId></DescribeZonesResponse>",
            reply.request_id
        );
        let sorted = |text: &str| {
            let mut parts: Vec<String> = text.split("><").map(str::to_string).collect();
            parts.sort();
            parts
        };
        assert_eq!(sorted(text(&reply)), sorted(&expected));
        assert_eq!(reply.content_type, "text/xml;charset=utf-8");
    }

    #[test]
    fn nothing_a_caller_writes_is_markup() {
        let error = ApiError::new("X", "<a b='c'>&\"\r\u{0}\u{1b}]]>");
        let reply = refusal(AnswerFormat::Xml, &error, "h");
        let message = "<Message>&lt;a b=&apos;c&apos;&gt;&amp;&quot;&#13;\u{fffd}\u{fffd}]]&gt;</Message>";
        assert!(text(&reply).contains(message), "{}", text(&reply));
        let reply = success(AnswerFormat::Xml, "1<x>", Map::new());
        assert!(text(&reply).contains("<_1_x_Response>"), "{}", text(&reply));
    }

    #[test]
    fn request_ids_are_version_4_in_upper_case() {
        for _ in 0..100 {
            let id = request_id();
            assert_eq!(id.len(), 36);
            assert!(id.chars().all(|c| c == '-' || c.is_ascii_digit() || ('A'..='F').contains(&c)), "{id}");
            assert!(&id[14..15] == "4" && "89AB".contains(&id[19..20]), "{id}");
        }
        assert_ne!(request_id(), request_id());
    }
}
