//! The instance metadata service of an ECS instance: region and VPC.
//!
//! A token is asked for first (the hardened mode, which may be the only one that is on); where the service does
//! not know tokens, the plain request is made. Off an instance nobody listens at the address, and that is no
//! fault: everything works without it.

use crate::config::Instance;
use crate::fetch::fetch;
use http_body_util::Full;
use hyper::{Method, Request, StatusCode, header};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;
use tokio::time::timeout;

/// Where the service is, on every instance.
pub const SERVICE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)), 80);

/// One request takes no longer than this on an instance; off one, the address may swallow packets.
const PATIENCE: Duration = Duration::from_secs(2);

/// Seconds for which the token is wanted: for the requests that follow at once.
const TOKEN_SECONDS: &str = "60";

/// Octets of the longest value.
const LONGEST: usize = 4096;

/// Where the service is looked for, as the command line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataChoice {
    /// Nowhere.
    Off,
    /// There.
    At(SocketAddr),
}

impl MetadataChoice {
    /// Where to ask: as chosen, else where every instance has it, unless the environment forbids it.
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

/// Asks the service at `address`, [`SERVICE`] on an instance.
///
/// # Errors
/// Nobody answers there, or not in HTTP.
pub async fn instance(address: SocketAddr) -> io::Result<Instance> {
    let token = request(
        address,
        Method::PUT,
        "/latest/api/token",
        ("X-aliyun-ecs-metadata-token-ttl-seconds", TOKEN_SECONDS),
    )
    .await?;
    let item = async |path| {
        let header = ("X-aliyun-ecs-metadata-token", token.as_deref().unwrap_or(""));
        request(address, Method::GET, path, header).await
    };
    let region = item("/latest/meta-data/region-id").await?.filter(|region| is_id(region));
    let vpc_id = item("/latest/meta-data/vpc-id").await?.filter(|vpc| is_id(vpc));
    Ok(Instance { region, vpc_id })
}

/// The body of a good answer; nothing for any other status.
async fn request(
    address: SocketAddr,
    method: Method,
    path: &str,
    (name, value): (&'static str, &str),
) -> io::Result<Option<String>> {
    let mut request =
        Request::builder().method(method).uri(path).header(header::HOST, address.ip().to_string());
    if !value.is_empty() {
        request = request.header(name, value);
    }
    let request = request.body(Full::default()).map_err(io::Error::other)?;
    let response = timeout(PATIENCE, fetch(address, request, LONGEST))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let good = response.status() == StatusCode::OK;
    let text = String::from_utf8(response.into_body().to_vec()).ok();
    Ok(text.map(|text| text.trim().to_string()).filter(|_| good))
}

/// An id as the cloud makes them; whatever else answers at the address says something longer.
fn is_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

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
        assert_eq!(found, Instance { region: Some("cn-hangzhou".into()), vpc_id: Some("vpc-bp1abc".into()) });
    }

    #[tokio::test]
    async fn a_service_without_tokens_is_asked_plainly() {
        let address =
            service(|request| if request.starts_with("PUT") { (404, "") } else { (200, "eu-central-1") });
        assert_eq!(instance(address.await).await.unwrap().region.as_deref(), Some("eu-central-1"));
    }

    #[tokio::test]
    async fn a_captive_portal_is_no_region() {
        let address = service(|_| (200, "<html>log in</html>")).await;
        assert_eq!(instance(address).await.unwrap(), Instance::default());
    }

    #[tokio::test]
    async fn nobody_there_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert!(instance(address).await.is_err());
    }
}
