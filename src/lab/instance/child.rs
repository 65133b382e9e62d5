//! The other half, root of its own namespaces: makes the instance, starts the lab in it, and runs the command.

use super::{
    ADDRESS, CallerIds, INSIDE, InstanceError, InstancePlan, METADATA, Namespaces, RESOLVERS, command, files,
    network, unreached::Unreached,
};
use crate::config::{Forward, Servers};
use crate::engine::catalog::{Scope, Vpc};
use crate::engine::name;
use crate::lab::apis::ApiClients;
use crate::lab::credentials::Issuer;
use crate::lab::fake_dns;
use crate::lab::fake_dns::FakeDns;
use crate::lab::metadata::{self, Metadata, Role};
use crate::lab::products::instances::LabInstance;
use crate::lab::running;
use crate::lab::running::{Lab, LabAddresses};
use crate::stats::tap::TapSink;
use crate::upstream::Strategy;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use tokio::task::JoinSet;

/// Makes the instance and runs the command; returns its exit status. Must be called on the main thread, within a
/// tokio runtime.
///
/// # Errors
/// See [`InstanceError`].
pub async fn enter(plan: InstancePlan) -> Result<u8, InstanceError> {
    let InstancePlan { mut config, region, vpc, hardened, state, authority, key, caller, command, .. } = plan;
    refuse_the_callers_namespaces(&caller)?;
    let public = plan.public.then_some(fake_dns::PUBLIC);
    network::bring_up(public)?;
    let bundle = files::lay(&state, &authority)?;

    let mut tasks = JoinSet::new();
    let system = |what| move |error| InstanceError::System(what, error);
    let here = LabInstance { region: region.clone(), vpc: vpc.clone(), address: ADDRESS };
    for resolver in RESOLVERS {
        let world = FakeDns::with_instance(INSIDE, &here.names(), ADDRESS);
        let address = SocketAddr::from((resolver, 53));
        fake_dns::serve(world, address, &mut tasks).await.map_err(system("the VPC's resolver"))?;
    }
    let instance = metadata::InstanceMetadata {
        region: region.clone(),
        vpc: vpc.clone(),
        address: ADDRESS,
        hardened,
        user_data: plan.user_data,
    };
    let role = plan.role.map(|name| Role::new(name, Issuer::new(&key), plan.credential_life));
    let at = Some(SocketAddr::from((METADATA, 80)));
    metadata::serve(Metadata::new(&instance, role), at, &mut tasks)
        .await
        .map_err(system("the metadata service"))?;

    if config.vpcs.is_empty() {
        let all: [IpNet; 2] = [
            Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0).into(),
            Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0).into(),
        ];
        config.vpcs = vec![Vpc { id: vpc, region: Some(region.clone()), clients: all.to_vec() }];
    }
    config.forwards.extend(private_names(&here));
    config.upstream.servers = Servers::Listed(Vec::new()); // the lab puts its own there
    let unreached = (public.is_none() && !plan.quiet).then(Unreached::default);
    let lab = Lab::start(running::LabPlan {
        config,
        places: places(),
        inside: INSIDE,
        clients: ApiClients::default(),
        authority,
        key,
        store: plan.store,
        public,
        instance: Some(here),
        watcher: unreached.clone().map(|unreached| Box::new(unreached) as Box<dyn TapSink>),
        console_beyond_loopback: false,
    });
    let lab = lab.await.map_err(InstanceError::Lab)?;
    let mut environment = environment(&lab, &region, &bundle);
    if plan.without_key {
        environment.retain(|(name, _)| !KEY.contains(name));
    }
    let code = command::run(&command, caller.run_as, &environment, &KEY).await?;
    if let Some(report) = unreached.and_then(|unreached| unreached.report()) {
        eprintln!("{}", report.trim_end());
    }
    drop((lab, tasks));
    Ok(code)
}

/// What follows would take the machine off its network and hide its files, were it done outside.
fn refuse_the_callers_namespaces(caller: &CallerIds) -> Result<(), InstanceError> {
    let own =
        Namespaces::own().map_err(|error| InstanceError::System("/proc/self/ns is not there", error))?;
    match own.net == caller.namespaces.net || own.mnt == caller.namespaces.mnt {
        true => Err(InstanceError::NotAllowed(
            "these are not separate namespaces\nhint: run `pvtzd lab exec`, which creates them".into(),
        )),
        false => Ok(()),
    }
}

/// Rules by which the private names of instances, and their reverse, are asked of the VPC's resolvers in this VPC alone.
fn private_names(here: &LabInstance) -> impl Iterator<Item = Forward> {
    let [a, b, c, _] = ADDRESS.octets();
    let zones = [format!("{}.ecs.internal", here.region), format!("{c}.{b}.{a}.in-addr.arpa")];
    let scope = Scope::Vpcs(vec![here.vpc.clone()]);
    zones.into_iter().filter_map(move |zone| {
        Some(Forward {
            zone: name::parse(&zone).ok()?,
            servers: RESOLVERS.map(|resolver| SocketAddr::from((resolver, 53)).into()).to_vec(),
            strategy: Strategy::default(),
            scope: scope.clone(),
        })
    })
}

/// Where the parts of the lab are on the instance.
fn places() -> LabAddresses {
    LabAddresses {
        dns: SocketAddr::from((Ipv4Addr::LOCALHOST, 53)),
        api: SocketAddr::from((Ipv4Addr::LOCALHOST, 5380)),
        http: SocketAddr::from((INSIDE, 80)),
        https: SocketAddr::from((INSIDE, 443)),
        world: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
    }
}

/// The variables that an access key is in.
const KEY: [&str; 4] = [
    "ALIBABA_CLOUD_ACCESS_KEY_ID",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
    "ALICLOUD_ACCESS_KEY",
    "ALICLOUD_SECRET_KEY",
];

/// What clients go by.
fn environment(lab: &Lab, region: &str, bundle: &Path) -> Vec<(&'static str, String)> {
    let bundle = bundle.display().to_string();
    let mut variables: Vec<(&str, String)> =
        ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE", "ALIBABA_CLOUD_CA_BUNDLE"]
            .map(|name| (name, bundle.clone()))
            .to_vec();
    variables.push(("NODE_EXTRA_CA_CERTS", lab.authority.path.display().to_string()));
    let [id, secret, terraform_id, terraform_secret] = KEY;
    for (names, value) in [
        ([id, terraform_id], lab.key.id.as_str()),
        ([secret, terraform_secret], lab.key.secret()),
        (["ALIBABA_CLOUD_REGION_ID", "ALICLOUD_REGION"], region),
    ] {
        variables.extend(names.map(|name| (name, value.to_string())));
    }
    variables
}
