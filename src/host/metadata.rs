//! The instance metadata service of an ECS instance: region and VPC.
//!
//! A token is asked for first (the hardened mode, which may be the only one that is on); where the service does
//! not know tokens, the plain request is made. Outside of ECS no service listens at the address, and that is no
//! fault: everything works without it.

use crate::config::InstanceInfo;
use crate::http::client::fetch;
use http_body_util::Full;
use hyper::{Method, Request, StatusCode, header};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Where the service is, on every instance.
pub const SERVICE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)), 80);

/// One request takes no longer than this on an instance; off one, the address may swallow packets.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Seconds for which the token is wanted: for the requests that follow at once.
const TOKEN_SECONDS: &str = "60";

/// How often silence is asked before the search ends.
const TRIES: u32 = 8;

/// The pause after the first question; it doubles each time, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(600);

/// Octets of the longest value.
const MAX_VALUE_BYTES: usize = 4096;

/// Where the service is looked for, as the command line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataChoice {
    /// Nowhere.
    Off,
    /// There.
    At(SocketAddr),
}

impl MetadataChoice {
    /// The address: as configured, else the one of every instance, unless the environment disables it.
    pub fn or_default(choice: Option<Self>) -> Option<SocketAddr> {
        let disabled =
            std::env::var_os("ALIBABA_CLOUD_ECS_METADATA_DISABLED").is_some_and(|value| value == "true");
        match choice {
            Some(Self::Off) => None,
            Some(Self::At(address)) => Some(address),
            None => Some(SERVICE).filter(|_| !disabled),
        }
    }
}

impl FromStr for MetadataChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            _ => text.parse().map(Self::At).map_err(|_| "write ADDRESS:PORT or off".into()),
        }
    }
}

/// Why there is no metadata service.
#[derive(Debug)]
pub enum Absent {
    /// No answer.
    Silent(io::Error),
    /// Another server answers, such as a proxy or a captive portal.
    Foreign(String),
}

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent(error) => error.fmt(f),
            Self::Foreign(what) => write!(f, "the server that answers is not the metadata service: {what}"),
        }
    }
}

impl From<io::Error> for Absent {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // the response is too long, or not HTTP
            io::ErrorKind::Other => Self::Foreign(format!("cannot parse its answer: {error}")),
            _ => Self::Silent(error),
        }
    }
}

/// Asks the service at `address`, [`SERVICE`] on an instance.
///
/// # Errors
/// Nothing answers there, or what answers tells neither a region nor a VPC.
pub async fn instance(address: SocketAddr) -> Result<InstanceInfo, Absent> {
    let (_, token) = request(
        address,
        Method::PUT,
        "/latest/api/token",
        ("X-aliyun-ecs-metadata-token-ttl-seconds", TOKEN_SECONDS),
    )
    .await?;
    let token = token.filter(|token| is_token(token)).unwrap_or_default();
    let item =
        async |path| request(address, Method::GET, path, ("X-aliyun-ecs-metadata-token", &token)).await;
    let (status, region) = item("/latest/meta-data/region-id").await?;
    let region = region.filter(|region| is_region(region));
    let vpc_id = item("/latest/meta-data/vpc-id").await?.1.filter(|vpc| is_vpc(vpc));
    if region.is_none() && vpc_id.is_none() {
        let what = match status {
            StatusCode::OK => "its region and VPC are invalid".to_string(),
            status => format!("it answers {status} for the region and has no VPC"),
        };
        return Err(Absent::Foreign(what));
    }
    Ok(InstanceInfo { region, vpc_id })
}

/// Asks until the service answers. Silence ends the search after a while: this is no instance. Something else that
/// answers does not: a login may lead to the service yet, a proxy may be told to leave it alone.
pub async fn find(address: SocketAddr) -> Option<InstanceInfo> {
    search(address, || instance(address)).await
}

/// [`find`] by a way of asking.
async fn search<F>(address: SocketAddr, ask: impl Fn() -> F) -> Option<InstanceInfo>
where
    F: Future<Output = Result<InstanceInfo, Absent>>,
{
    let mut pause = FIRST_PAUSE;
    let mut silences = 0;
    let mut told = String::new();
    loop {
        match ask().await {
            Ok(instance) => return Some(instance),
            Err(Absent::Silent(error)) => {
                tracing::debug!(%address, %error, "no metadata service");
                silences += 1;
                if silences >= TRIES {
                    tracing::info!(%address, "no metadata service: not an ECS instance, or the service is \
                                              disabled");
                    return None;
                }
            }
            Err(Absent::Foreign(what)) => {
                silences = 0;
                if told != what {
                    tracing::warn!(%address, found = what, "not the metadata service; retrying later");
                    told = what;
                }
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

/// Status and body of an answer; no body where the status is not good.
async fn request(
    address: SocketAddr,
    method: Method,
    path: &str,
    (name, value): (&'static str, &str),
) -> io::Result<(StatusCode, Option<String>)> {
    let mut request =
        Request::builder().method(method).uri(path).header(header::HOST, address.ip().to_string());
    if !value.is_empty() {
        request = request.header(name, value);
    }
    let request = request.body(Full::default()).map_err(io::Error::other)?;
    let response = timeout(TIMEOUT, fetch(address, request, MAX_VALUE_BYTES))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let status = response.status();
    let text = String::from_utf8(response.into_body().to_vec()).ok();
    Ok((status, text.map(|text| text.trim().to_string()).filter(|_| status == StatusCode::OK)))
}

/// A token as the service makes them: it goes back in a header.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.len() <= 1024 && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'<')
}

/// A region as the cloud names them: an area of two letters, or `rus`, and words of letters and digits behind dashes.
fn is_region(text: &str) -> bool {
    let word =
        |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let Some((area, rest)) = text.split_once('-') else { return false };
    let is_area = area == "rus" || (area.len() == 2 && area.bytes().all(|b| b.is_ascii_lowercase()));
    is_area && text.len() <= 64 && rest.split('-').all(word)
}

/// The id of a VPC as the cloud makes them.
fn is_vpc(text: &str) -> bool {
    let id = text.strip_prefix("vpc-").unwrap_or_default();
    !id.is_empty() && text.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::future::ready;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::time::Instant;

    /// A service that answers each request by `answer(request text)` and closes.
    async fn service(answer: fn(&str) -> (u16, &'static str)) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut bytes = Vec::new();
                while !bytes.ends_with(b"\r\n\r\n") {
                    bytes.push(stream.read_u8().await.unwrap());
                }
                let (status, body) = answer(std::str::from_utf8(&bytes).unwrap());
                let reply = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                stream.write_all(reply.as_bytes()).await.unwrap();
            }
        });
        address
    }

    #[tokio::test]
    async fn the_hardened_mode_is_spoken() {
        let address = service(|request| {
            let lower = request.to_ascii_lowercase();
            if request.starts_with("PUT /latest/api/token") && lower.contains("ttl-seconds: 60") {
                (200, "secret-token")
            } else if !lower.contains("x-aliyun-ecs-metadata-token: secret-token") {
                (403, "no token")
            } else if request.contains("/region-id") {
                (200, "cn-hangzhou\n")
            } else {
                (200, "vpc-bp1abc")
            }
        });
        let found = instance(address.await).await.unwrap();
        assert_eq!(
            found,
            InstanceInfo { region: Some("cn-hangzhou".into()), vpc_id: Some("vpc-bp1abc".into()) }
        );
    }

    #[tokio::test]
    async fn a_service_without_tokens_is_asked_plainly() {
        let address =
            service(|request| if request.starts_with("PUT") { (404, "") } else { (200, "eu-central-1") });
        assert_eq!(instance(address.await).await.unwrap().region.as_deref(), Some("eu-central-1"));
    }

    #[tokio::test]
    async fn what_tells_neither_a_region_nor_a_vpc_is_not_the_service() {
        async fn told(answer: fn(&str) -> (u16, &'static str)) -> String {
            match instance(service(answer).await).await {
                Err(Absent::Foreign(what)) => what,
                other => panic!("{other:?}"),
            }
        }
        assert!(told(|_| (200, "<html>log in</html>")).await.contains("region and VPC are invalid"));
        assert!(told(|_| (403, "denied")).await.contains("403"));
        assert!(told(|_| (302, "")).await.contains("302"));
        assert!(told(|_| (200, "ok")).await.contains("region and VPC are invalid"));
        assert!(told(|_| (200, "not-found")).await.contains("region and VPC are invalid"));
        let long: &'static str = "x".repeat(2 * MAX_VALUE_BYTES).leak();
        let address = service_of(long).await;
        assert!(matches!(instance(address).await, Err(Absent::Foreign(_))), "a page that is too long");
    }

    /// A service whose every answer has this body.
    async fn service_of(body: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let reply = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                let _ = stream.write_all(reply.as_bytes()).await;
                let _ = stream.read_to_end(&mut Vec::new()).await;
            }
        });
        address
    }

    #[test]
    fn regions_and_vpcs_have_the_form_that_the_cloud_gives_them() {
        for region in ["cn-hangzhou", "us-west-1", "rus-west-1", "cn-heyuan-acdr-1", "ap-southeast-1"] {
            assert!(is_region(region), "{region}");
        }
        for other in ["", "cn", "cn-", "-cn", "not-found", "CN-hangzhou", "cn-hang zhou", "cn--a", "<html>"] {
            assert!(!is_region(other), "{other}");
        }
        assert!(is_vpc("vpc-bp1abc") && is_vpc("vpc-lab-1"));
        assert!(!is_vpc("vpc-") && !is_vpc("error") && !is_vpc("vpc-<x>"));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_the_search_and_another_thing_does_not() {
        let asked = Cell::new(0);
        let begun = Instant::now();
        let count = || asked.replace(asked.get() + 1);
        let silent = || {
            count();
            ready(Err(Absent::Silent(io::ErrorKind::TimedOut.into())))
        };
        assert_eq!(search(SERVICE, silent).await, None);
        assert_eq!(asked.replace(0), TRIES);
        let found = InstanceInfo { region: Some("cn-hangzhou".into()), vpc_id: None };
        let portal = || match count() {
            50 => ready(Ok(found.clone())),
            _ => ready(Err(Absent::Foreign("a page".into()))),
        };
        assert_eq!(search(SERVICE, portal).await, Some(found.clone()));
        assert!(begun.elapsed() < 50 * MAX_PAUSE);
    }

    #[tokio::test]
    async fn a_port_without_a_service_is_silence() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert!(matches!(instance(address).await, Err(Absent::Silent(_))));
    }
}
