//! The documented recipe, "call API operations from within a VPC", performed step by step in a lab: the request, what a
//! client sees then, and whether that is what it should see.
//!
//! The steps of the console are the actions of the API that stand behind them.

use super::client;
use super::client::ResolvedName;
use super::fake_dns::{BELOW, PUBLIC};
use super::running::{Lab, OTHER_CLIENT};
use crate::api::Params;
use crate::api::actions;
use crate::api::client::ApiClient;
use serde::Serialize;
use serde_json::{Map, Value};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// The region that the source document takes as its example.
pub const REGION: &str = "cn-hangzhou";

/// The VPC that the zone is bound to.
pub const VPC: &str = "vpc-lab";

/// A client of that VPC.
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The API name, which is also the zone's.
const ZONE: &str = "ecs.cn-hangzhou.aliyuncs.com";

/// What it is to lead to.
const GATEWAY: &str = "popunify-vpc.cn-hangzhou.aliyuncs.com";

/// The version of the ECS API.
const ECS: &str = "2014-05-26";

/// A step and its result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WalkStep {
    /// What it is about.
    pub title: String,
    /// What was asked, and of whom.
    pub request: String,
    /// What came back, and what clients see then.
    pub effect: Vec<String>,
    /// The outcome in a sentence.
    pub result: String,
    /// Whether it is as it should be.
    pub ok: bool,
}

/// Performs the steps until one fails; `tell` hears of each. True if all are as they should be.
pub async fn perform(lab: &Lab, tell: impl FnMut(&WalkStep)) -> bool {
    let host = lab.places.api.to_string();
    let client = ApiClient {
        address: lab.places.api,
        host,
        key: lab.key.clone(),
        tls: None,
        timeout: Duration::from_secs(5),
    };
    let mut walk = Walk { lab, client, tell, is_well: true };
    walk.all().await;
    walk.is_well
}

/// A walk under way.
struct Walk<'l, T> {
    lab: &'l Lab,
    client: ApiClient,
    tell: T,
    is_well: bool,
}

impl<T: FnMut(&WalkStep)> Walk<'_, T> {
    /// The steps; nothing when one has failed.
    async fn all(&mut self) -> Option<()> {
        self.looks_up("Before: the API name resolves to a public address", CLIENT, ZONE, Sees::Public)
            .await?;

        let title = "Add the zone, with the recursion proxy for names below it";
        let add = [("ZoneName", ZONE), ("ProxyPattern", "RECORD")];
        let answer = self.calls(title, "AddZone", &add, &["ZoneId", "ZoneName"], Sees::Public).await?;
        let zone = answer.get("ZoneId").and_then(Value::as_str).unwrap_or_default().to_string();

        let record = [("ZoneId", &*zone), ("Rr", "@"), ("Type", "CNAME"), ("Value", GATEWAY), ("Ttl", "60")];
        let title = "Add the record: the zone's apex becomes a CNAME to the gateway inside the VPC";
        self.calls(title, "AddZoneRecord", &record, &["RecordId"], Sees::Public).await?;

        let bind = [("ZoneId", &*zone), ("Vpcs.1.VpcId", VPC), ("Vpcs.1.RegionId", REGION)];
        let title = "Bind the VPC: from now on its clients see the zone";
        self.calls(title, "BindZoneVpc", &bind, &[], Sees::Gateway).await?;

        self.describes_regions(false).await?;
        self.describes_regions(true).await?;

        let other = IpAddr::V4(OTHER_CLIENT);
        self.looks_up("Another VPC still sees the public answer", other, ZONE, Sees::Public).await?;
        let below = format!("{BELOW}.{ZONE}");
        let title = "A name below without a record in the zone gets the public answer";
        self.looks_up(title, CLIENT, &below, Sees::Public).await?;

        let title = "Unbind: the public answer is returned at once, regardless of the TTL of 60 s";
        self.calls(title, "BindZoneVpc", &[("ZoneId", &zone)], &[], Sees::Public).await?;
        self.calls("Delete the zone", "DeleteZone", &[("ZoneId", &zone)], &[], Sees::Public).await?;
        Some(())
    }

    /// A look-up.
    async fn looks_up(&mut self, title: &str, client: IpAddr, name: &str, sees: Sees) -> Option<()> {
        let request = dig(self.lab.places.dns, client, name);
        let found = client::resolve(self.lab.places.dns, client, name).await;
        let (effect, outcome) = sees.judge(&found, self.gateway());
        self.step(title, request, effect, outcome)
    }

    /// A call of PrivateZone's API, and what a client of the VPC sees then.
    async fn calls(
        &mut self,
        title: &str,
        action: &str,
        params: &[(&str, &str)],
        shown: &[&str],
        sees: Sees,
    ) -> Option<Map<String, Value>> {
        let told: Vec<String> = params.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = format!("{action} {}", told.join(" "));
        let params: Params = params.iter().copied().collect();
        let fields = match self.client.call(actions::VERSION, action, &params).await {
            Ok(fields) => fields,
            Err(error) => {
                self.step(title, request, Vec::new(), Err(error.to_string()))?;
                return None;
            }
        };
        let mut effect: Vec<String> =
            shown.iter().filter_map(|name| Some(format!("{name}: {}", plain(fields.get(*name)?)))).collect();
        let dns = self.lab.places.dns;
        effect.push(dig(dns, CLIENT, ZONE));
        let (seen, outcome) = sees.judge(&client::resolve(dns, CLIENT, ZONE).await, self.gateway());
        effect.extend(seen);
        self.step(title, request, effect, outcome)?;
        Some(fields)
    }

    /// The call that all this is for, through the address that the name leads to.
    async fn describes_regions(&mut self, secure: bool) -> Option<()> {
        let places = &self.lab.places;
        let (scheme, port) =
            if secure { ("https", places.https.port()) } else { ("http", places.http.port()) };
        let title = format!("Call DescribeRegions through the name, over {}", scheme.to_uppercase());
        let request = format!("POST {scheme}://{ZONE}:{port}/  x-acs-action: DescribeRegions, signed");
        let called = async {
            let found = client::resolve(places.dns, CLIENT, ZONE).await?;
            let address =
                found.addresses.first().ok_or_else(|| io::Error::other("the name has no address"))?;
            let address = SocketAddr::new((*address).into(), port);
            let tls = secure.then_some(&self.lab.authority);
            client::call(address, ZONE, tls, &self.lab.key, (ECS, "DescribeRegions")).await
        };
        let (effect, outcome) = match called.await {
            Err(error) => (Vec::new(), Err(error.to_string())),
            Ok(answer) => {
                let regions = answer["Regions"]["Region"].as_array().cloned().unwrap_or_default();
                let ids: Vec<&str> =
                    regions.iter().filter_map(|region| region["RegionId"].as_str()).collect();
                let shown = ids.iter().take(3).copied().collect::<Vec<_>>().join(", ");
                let effect = format!("RequestId: {}", plain(&answer["RequestId"]));
                let outcome = match ids.contains(&REGION) {
                    true => Ok(format!("{} regions: {shown}, …", ids.len())),
                    false => Err(format!("no region {REGION} in the answer")),
                };
                (vec![effect], outcome)
            }
        };
        self.step(&title, request, effect, outcome)
    }

    /// Tells of a step; nothing if it has failed.
    fn step(
        &mut self,
        title: &str,
        request: String,
        effect: Vec<String>,
        outcome: Result<String, String>,
    ) -> Option<()> {
        let ok = outcome.is_ok();
        self.is_well &= ok;
        let result = outcome.unwrap_or_else(|why| why);
        (self.tell)(&WalkStep { title: title.into(), request, effect, result, ok });
        ok.then_some(())
    }

    /// The address of the gateway.
    fn gateway(&self) -> IpAddr {
        self.lab.places.http.ip()
    }
}

/// What a client should see.
#[derive(Clone, Copy)]
enum Sees {
    /// The address of the public answer.
    Public,
    /// The gateway's name and its address.
    Gateway,
}

impl Sees {
    /// The lines of an answer, and what is to be said about it.
    fn judge(
        self,
        found: &io::Result<ResolvedName>,
        gateway: IpAddr,
    ) -> (Vec<String>, Result<String, String>) {
        let found = match found {
            Ok(found) => found,
            Err(error) => return (Vec::new(), Err(format!("no answer: {error}"))),
        };
        let is = |address: IpAddr| found.addresses.iter().any(|found| IpAddr::V4(*found) == address);
        let by_gateway = found.lines.iter().any(|line| line.contains(GATEWAY));
        let outcome = match self {
            Self::Public if is(PUBLIC.into()) && !by_gateway => {
                Ok("the public address, which this instance cannot reach")
            }
            Self::Gateway if is(gateway) && by_gateway => Ok("the gateway inside the VPC"),
            Self::Public => Err("not the public address"),
            Self::Gateway => Err("not the gateway inside the VPC"),
        };
        let told = |text: &str| text.to_string();
        let lines = match found.lines.is_empty() {
            true => vec![format!("status: {:?}, no records", found.rcode)],
            false => found.lines.clone(),
        };
        (lines, outcome.map(told).map_err(told))
    }
}

/// The command that asks the same.
fn dig(server: SocketAddr, client: IpAddr, name: &str) -> String {
    let source = if client == CLIENT { String::new() } else { format!(" -b {client}") };
    format!("dig @{} -p {}{source} {name}", server.ip(), server.port())
}

/// A value without its quotes.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Endpoints};
    use crate::lab::apis::ApiClients;
    use crate::lab::ca::LabCa;
    use crate::lab::running::{LabAddresses, LabPlan, vpcs};
    use crate::lab::state::StateDir;
    use std::time::SystemTime;

    async fn lab(config: Config, folder: &std::path::Path) -> Lab {
        let state = StateDir::open(Some(folder)).unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let plan = LabPlan {
            config: Config { vpcs: vpcs(VPC, REGION, &[]), ..config },
            places: LabAddresses { dns: any, api: any, http: any, https: any, world: any },
            inside: Ipv4Addr::LOCALHOST,
            clients: ApiClients::default(),
            authority: LabCa::open(&state, SystemTime::now()).unwrap(),
            key: crate::lab::access_key::open(&state, None, None).unwrap(),
            store: None,
            public: None,
            instance: None,
            watcher: None,
            console_beyond_loopback: false,
        };
        Lab::start(plan).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_step_goes_as_documented() {
        let folder = tempfile::tempdir().unwrap();
        let endpoints = Endpoints { products: Vec::new(), ..Endpoints::default() };
        let lab = lab(Config { endpoints, ..Config::default() }, folder.path()).await;
        let mut steps = Vec::new();
        let ok = perform(&lab, |step| steps.push(step.clone())).await;
        assert!(ok && steps.len() == 10 && steps.iter().all(|step| step.ok), "{steps:#?}");
        assert!(steps[3].effect.iter().any(|line| line.contains("CNAME")), "{:#?}", steps[3]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_walk_ends_at_the_step_that_fails() {
        let folder = tempfile::tempdir().unwrap();
        // The catalogue has the name mapped already: the first look-up is not what the document starts from.
        let lab = lab(Config::default(), folder.path()).await;
        let mut steps = Vec::new();
        assert!(!perform(&lab, |step| steps.push(step.clone())).await);
        assert_eq!(steps.len(), 1);
        assert_eq!((steps[0].ok, steps[0].result.as_str()), (false, "not the public address"));
    }
}
