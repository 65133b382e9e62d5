//! The metadata service of the instance that `pvtzd lab exec` plays: what it says, and its token mode.
//!
//! The plain mode answers any GET, as old images expect. A token (`PUT /latest/api/token`) is always to be had;
//! in the hardened mode nothing is answered without one.

use crate::api::http::Connections;
use crate::base::octets::{Kind, OF_CONNECTION, Octets};
use crate::host::metadata::SERVICE;
use crate::http::browser::{self, ServerNames};
use crate::http::stream::{Stream, Waiting};
use data_encoding::BASE64URL_NOPAD;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Where all items are.
const ITEMS: &str = "/latest/meta-data/";

/// Where a token is to be had.
const TOKEN: &str = "/latest/api/token";

/// Seconds that a token may live at most, as documented.
const LONGEST_LIFE: u64 = 21_600;

/// Tokens that are remembered; more are not given out at a time.
const MOST_TOKENS: usize = 1000;

/// Connections at a time; the one that was idle for longest makes room.
const CONNECTIONS: usize = 64;

/// Octets of a request's head.
const HEAD: usize = 16 << 10;

/// A client that does not send its request within this is cut off.
const PATIENCE: Duration = Duration::from_secs(10);

/// The instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its region id.
    pub region: String,
    /// The id of its VPC.
    pub vpc: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// Nothing is told without a token.
    pub hardened: bool,
}

/// The service.
#[derive(Debug)]
pub struct Metadata {
    items: BTreeMap<&'static str, String>,
    hardened: bool,
    /// Tokens and when they end.
    tokens: Mutex<BTreeMap<String, Instant>>,
}

impl Metadata {
    /// What the service says of an instance.
    pub fn new(instance: &Instance) -> Self {
        let Instance { region, vpc, address, hardened } = instance;
        let [.., third, fourth] = address.octets();
        let mac = format!("00:16:3e:00:{third:02x}:{fourth:02x}");
        let items = [
            ("dns-conf/nameservers", "100.100.2.136\n100.100.2.138".to_string()),
            ("hostname", "pvtzd-lab".into()),
            ("image-id", "pvtzd-lab".into()),
            ("instance-id", "i-pvtzdlab000000000000".into()),
            ("instance/instance-name", "pvtzd-lab".into()),
            ("instance/instance-type", "ecs.t6-c1m1.large".into()),
            ("mac", mac),
            ("network-type", "vpc".into()),
            ("owner-account-id", super::ecs::ACCOUNT.into()),
            ("private-ipv4", address.to_string()),
            ("region-id", region.clone()),
            ("vpc-cidr-block", "172.16.0.0/12".into()),
            ("vpc-id", vpc.clone()),
            ("vswitch-id", "vsw-pvtzdlab000000000000".into()),
            ("zone-id", format!("{region}-a")),
        ];
        Self { items: items.into(), hardened: *hardened, tokens: Mutex::default() }
    }

    /// Answers a request at a moment.
    fn answer(&self, method: &Method, path: &str, headers: &HeaderMap, now: Instant) -> (StatusCode, String) {
        if path == TOKEN && *method == Method::PUT {
            return self.token(headers, now);
        }
        if *method != Method::GET && *method != Method::HEAD {
            return (StatusCode::METHOD_NOT_ALLOWED, String::new());
        }
        let token = headers.get("x-aliyun-ecs-metadata-token").and_then(|value| value.to_str().ok());
        let is_good = |token: &str| self.tokens().get(token).is_some_and(|end| now < *end);
        match token.filter(|token| !token.is_empty()) {
            Some(token) if !is_good(token) => {
                return (StatusCode::FORBIDDEN, "the token is not known\n".into());
            }
            None if self.hardened => return (StatusCode::FORBIDDEN, "a token is needed\n".into()),
            _ => {}
        }
        let item = match path {
            "/" => Some("latest/".to_string()),
            "/latest" | "/latest/" => Some("dynamic/\nmeta-data/\n".to_string()),
            _ => path
                .strip_prefix(ITEMS)
                .or((format!("{path}/") == ITEMS).then_some(""))
                .and_then(|at| self.item(at)),
        };
        item.map_or((StatusCode::NOT_FOUND, String::new()), |item| (StatusCode::OK, item))
    }

    /// An item, or what there is below a folder.
    fn item(&self, path: &str) -> Option<String> {
        let path = path.trim_end_matches('/');
        if let Some(value) = self.items.get(path) {
            return Some(value.clone());
        }
        let folder = if path.is_empty() { String::new() } else { format!("{path}/") };
        let below = self.items.keys().filter_map(|key| key.strip_prefix(folder.as_str()));
        let mut lines: Vec<String> = below
            .map(|rest| rest.split_once('/').map_or(rest.to_string(), |(first, _)| format!("{first}/")))
            .collect();
        lines.dedup();
        (!lines.is_empty()).then(|| lines.join("\n"))
    }

    /// Gives a token out.
    fn token(&self, headers: &HeaderMap, now: Instant) -> (StatusCode, String) {
        let seconds = headers.get("x-aliyun-ecs-metadata-token-ttl-seconds");
        let seconds = seconds.and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok());
        let Some(seconds) = seconds.filter(|seconds| (1..=LONGEST_LIFE).contains(seconds)) else {
            return (StatusCode::BAD_REQUEST, String::new());
        };
        let mut random = [0; 33];
        if getrandom::fill(&mut random).is_err() {
            return (StatusCode::INTERNAL_SERVER_ERROR, String::new());
        }
        let token = BASE64URL_NOPAD.encode(&random);
        let mut tokens = self.tokens();
        tokens.retain(|_, end| now < *end);
        if tokens.len() >= MOST_TOKENS {
            return (StatusCode::TOO_MANY_REQUESTS, String::new());
        }
        tokens.insert(token.clone(), now + Duration::from_secs(seconds));
        (StatusCode::OK, token)
    }

    fn tokens(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Instant>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Begins to answer at an address, [`SERVICE`] on an instance; returns it with the port that port 0 became.
///
/// # Errors
/// The address cannot be had.
pub async fn serve(
    metadata: Metadata,
    address: Option<SocketAddr>,
    tasks: &mut JoinSet<()>,
) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address.unwrap_or(SERVICE)).await?;
    let address = listener.local_addr()?;
    let metadata = Arc::new(metadata);
    let (connections, octets) = (Connections::new(CONNECTIONS), Octets::default());
    tasks.spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(100)).await; // out of descriptors, or the like
                continue;
            };
            let Some(place) = connections.admit() else { continue }; // closed by being dropped
            let waiting = Waiting::new(&octets, Kind::Operations, OF_CONNECTION);
            let metadata = metadata.clone();
            tokio::spawn(async move {
                let service = service_fn(|request: Request<Incoming>| {
                    let metadata = metadata.clone();
                    async move {
                        let (path, headers) = (request.uri().path(), request.headers());
                        let (status, text) =
                            match browser::check(headers, request.uri(), &ServerNames::default()) {
                                Ok(()) => metadata.answer(request.method(), path, headers, Instant::now()),
                                Err(why) => (StatusCode::FORBIDDEN, format!("{why}\n")),
                            };
                        let mut response = Response::new(Full::new(Bytes::from(text)));
                        *response.status_mut() = status;
                        let plain = hyper::header::HeaderValue::from_static("text/plain");
                        response.headers_mut().insert(CONTENT_TYPE, plain);
                        Ok::<_, Infallible>(response)
                    }
                });
                let mut http = hyper::server::conn::http1::Builder::new();
                http.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(HEAD);
                let connection = http.serve_connection(TokioIo::new(Stream::new(stream, waiting)), service);
                tokio::select! {
                    _ = connection => {} // how it ended is its client's affair
                    () = place.taken() => {}
                }
            });
        }
    });
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::host::metadata::instance;

    fn metadata(hardened: bool) -> Metadata {
        let address = Ipv4Addr::new(172, 16, 0, 10);
        Metadata::new(&Instance { region: "cn-hangzhou".into(), vpc: "vpc-lab".into(), address, hardened })
    }

    fn request(
        metadata: &Metadata,
        method: Method,
        path: &str,
        header: &[(&'static str, &str)],
        at: Instant,
    ) -> (u16, String) {
        let headers =
            header.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let (status, text) = metadata.answer(&method, path, &headers, at);
        (status.as_u16(), text)
    }

    #[test]
    fn items_and_folders_are_told() {
        let (metadata, now) = (metadata(false), Instant::now());
        let get = |path: &str| request(&metadata, Method::GET, path, &[], now);
        assert_eq!(get("/latest/meta-data/vpc-id"), (200, "vpc-lab".into()));
        assert_eq!(get("/latest/meta-data/private-ipv4").1, "172.16.0.10");
        assert_eq!(get("/latest/meta-data/instance/").1, "instance-name\ninstance-type");
        assert!(get("/latest/meta-data/").1.contains("\ninstance/\n"));
        assert_eq!(get("/latest/meta-data").1, get("/latest/meta-data/").1);
        assert_eq!(get("/latest/meta-data/eipv4").0, 404);
        assert_eq!(request(&metadata, Method::POST, "/latest/meta-data/vpc-id", &[], now).0, 405);
    }

    #[test]
    fn a_token_counts_until_it_ends() {
        let (metadata, now) = (metadata(true), Instant::now());
        let life = "x-aliyun-ecs-metadata-token-ttl-seconds";
        let put = |value| request(&metadata, Method::PUT, "/latest/api/token", &[(life, value)], now);
        assert_eq!(put("0").0, 400);
        assert_eq!(put("21601").0, 400);
        let (status, token) = put("60");
        assert_eq!(status, 200);
        let get = |token: &str, at| {
            let header = [("x-aliyun-ecs-metadata-token", token)];
            request(&metadata, Method::GET, "/latest/meta-data/region-id", &header, at).0
        };
        assert_eq!(get(&token, now), 200);
        assert_eq!(get("another", now), 403);
        assert_eq!(get("", now), 403);
        assert_eq!(get(&token, now + Duration::from_secs(60)), 403);
    }

    #[tokio::test]
    async fn the_sidecar_learns_from_it_where_it_is() {
        let expected =
            config::Instance { region: Some("cn-hangzhou".into()), vpc_id: Some("vpc-lab".into()) };
        for hardened in [false, true] {
            let mut tasks = JoinSet::new();
            let any = Some("127.0.0.1:0".parse().unwrap());
            let address = serve(metadata(hardened), any, &mut tasks).await.unwrap();
            assert_eq!(instance(address).await.unwrap(), expected);
        }
    }
}
