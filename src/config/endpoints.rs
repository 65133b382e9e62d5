//! The catalogue of Alibaba Cloud API names: which public names lead to which names inside a VPC.
//! The data is `config/endpoints.toml`, compiled in; here it becomes zones.

use super::{EndpointTarget, Endpoints, InstanceInfo, Regions};
use crate::engine::name::{self, NameKey};
use crate::engine::sort;
use crate::engine::zone::{ZoneMode, ZoneOrigin, ZoneRecord, ZoneSpec};
use hickory_proto::rr::RData;
use hickory_proto::rr::rdata::CNAME;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::LazyLock;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The text of the catalogue.
const TEXT: &str = include_str!("../../config/endpoints.toml");

/// The catalogue, parsed. A test makes sure that it parses; were it broken, it would be empty.
static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::read(&table(TEXT)).unwrap_or_default());

/// The availability zones: a region's id, and the letters behind it. Parsed when they are first asked for.
static AVAILABILITY_ZONES: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
    let zones = table(include_str!("../../config/availability-zones.toml"));
    let letters = |name: &str| Some((name.to_string(), text(&zones, name).ok()??));
    sort::map(zones.keys().filter_map(|name| letters(name.get_ref())))
});

/// A table of a data file, with its keys.
type Data = DeTable<'static>;

/// The content of a data file.
fn table(text: &'static str) -> Data {
    DeTable::parse(text).map(Spanned::into_inner).unwrap_or_default()
}

/// A key of another type, or one that is not known.
struct Invalid;

/// A text, if it is there.
fn text(table: &Data, key: &str) -> Result<Option<String>, Invalid> {
    let Some(value) = table.get(key) else { return Ok(None) };
    value.get_ref().as_str().map(|text| Some(text.to_string())).ok_or(Invalid)
}

/// A list of texts; empty if it is not there.
fn texts(table: &Data, key: &str) -> Result<Vec<String>, Invalid> {
    let Some(value) = table.get(key) else { return Ok(Vec::new()) };
    let list = value.get_ref().as_array().ok_or(Invalid)?;
    list.iter().map(|item| item.get_ref().as_str().map(str::to_string).ok_or(Invalid)).collect()
}

/// That there are no other keys than these.
fn only(table: &Data, known: &[&str]) -> Result<(), Invalid> {
    let is_known = table.keys().all(|key| known.contains(&key.get_ref().as_ref()));
    if is_known { Ok(()) } else { Err(Invalid) }
}

/// What the data file holds.
#[derive(Debug, Default)]
struct Catalogue {
    /// What all names end in.
    suffix: String,
    /// Where names without a region lead while the region is unknown.
    home: String,
    /// All regions.
    regions: Vec<String>,
    /// All products.
    product: Vec<ProductEntry>,
}

/// One product.
#[derive(Debug)]
struct ProductEntry {
    /// What `products` calls it.
    name: String,
    /// Other words for it.
    aliases: Vec<String>,
    /// The public names with `{region}` in them.
    names: Vec<String>,
    /// The public names without a region.
    central: Vec<String>,
    /// The regions where its name leads to `popunify-vpc`, as documented.
    popunify: Vec<String>,
    /// Its own name inside a VPC, with `{region}` in it.
    vpc: Option<String>,
    /// Its own name inside a VPC, the same in all regions.
    vpc_central: Option<String>,
    /// Whether names below its names are mapped too.
    with_names_below: bool,
}

impl Catalogue {
    /// What the file says.
    fn read(data: &Data) -> Result<Self, Invalid> {
        only(data, &["suffix", "home", "regions", "product"])?;
        let products = data.get("product").and_then(|value| value.get_ref().as_array()).ok_or(Invalid)?;
        let product = |value: &Spanned<DeValue<'static>>| {
            ProductEntry::read(value.get_ref().as_table().ok_or(Invalid)?)
        };
        Ok(Self {
            suffix: text(data, "suffix")?.ok_or(Invalid)?,
            home: text(data, "home")?.ok_or(Invalid)?,
            regions: texts(data, "regions")?,
            product: products.iter().map(product).collect::<Result<_, _>>()?,
        })
    }
}

impl ProductEntry {
    /// What the file says of one product.
    fn read(data: &Data) -> Result<Self, Invalid> {
        only(
            data,
            &["name", "aliases", "names", "central", "popunify", "vpc", "vpc_central", "with_names_below"],
        )?;
        let with_names_below = match data.get("with_names_below") {
            Some(value) => value.get_ref().as_bool().ok_or(Invalid)?,
            None => false,
        };
        Ok(Self {
            name: text(data, "name")?.ok_or(Invalid)?,
            aliases: texts(data, "aliases")?,
            names: texts(data, "names")?,
            central: texts(data, "central")?,
            popunify: texts(data, "popunify")?,
            vpc: text(data, "vpc")?,
            vpc_central: text(data, "vpc_central")?,
            with_names_below,
        })
    }

    /// Where a name of this product leads in a region, without the suffix.
    fn target(&self, target: EndpointTarget, region: &str) -> Option<String> {
        if let Some(central) = &self.vpc_central {
            return Some(central.clone());
        }
        match &self.vpc {
            Some(vpc) if target == EndpointTarget::ProductVpc || self.popunify.is_empty() => {
                Some(filled(vpc, region))
            }
            // A product without a name of its own has the gateway's only, whatever is configured.
            _ => self.popunify.iter().any(|known| known == region).then(|| format!("popunify-vpc.{region}")),
        }
    }
}

/// The names of the whole catalogue, for who has to answer for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiNames {
    /// Public names, which answer outside.
    pub public: Vec<String>,
    /// Names that answer inside a VPC.
    pub inside: Vec<String>,
}

/// All names of the catalogue: of all products in all regions.
pub fn api_names() -> ApiNames {
    let catalogue = &*CATALOGUE;
    let (mut public, mut inside) = (BTreeSet::new(), BTreeSet::new());
    for product in &catalogue.product {
        for region in &catalogue.regions {
            public.extend(product.names.iter().map(|name| filled(name, region)));
            inside.extend(product.target(EndpointTarget::PopunifyVpc, region));
            inside.extend(product.target(EndpointTarget::ProductVpc, region));
        }
        public.extend(product.central.iter().cloned());
    }
    let full = |names: BTreeSet<String>| -> Vec<String> {
        names.iter().map(|name| format!("{name}.{}", catalogue.suffix)).collect()
    };
    ApiNames { public: full(public), inside: full(inside) }
}

/// All region ids.
pub fn regions() -> Vec<String> {
    CATALOGUE.regions.clone()
}

/// The ids of a region's availability zones; for a region whose zones are not known, two by the usual pattern.
pub fn availability_zones(region: &str) -> Vec<String> {
    let letters = AVAILABILITY_ZONES.get(region).map_or("ab", String::as_str);
    let dash = if region.ends_with(|last: char| last.is_ascii_digit()) { "" } else { "-" };
    letters.chars().map(|letter| format!("{region}{dash}{letter}")).collect()
}

/// All products.
pub(super) fn products() -> Vec<String> {
    CATALOGUE.product.iter().map(|product| product.name.clone()).collect()
}

/// The catalogue's name of a product, by its name or an alias.
pub(super) fn product(text: &str) -> Option<&'static str> {
    let known =
        |product: &&ProductEntry| product.name == text || product.aliases.iter().any(|alias| alias == text);
    CATALOGUE.product.iter().find(known).map(|product| product.name.as_str())
}

/// The zones that the settings mean on this instance. No two of one name.
pub(super) fn zones(endpoints: &Endpoints, instance: &InstanceInfo) -> Vec<ZoneSpec> {
    let catalogue = &*CATALOGUE;
    let detected = instance.region.clone();
    let regions = match (&endpoints.regions, &detected) {
        (Regions::Auto, Some(region)) => std::slice::from_ref(region),
        (Regions::Listed(listed), _) => listed.as_slice(),
        (Regions::Auto | Regions::All, _) => catalogue.regions.as_slice(),
    };
    // The region that names without one lead to.
    let home = match (&endpoints.regions, regions) {
        (Regions::Auto | Regions::Listed(_), [only]) => only.as_str(),
        _ => catalogue.home.as_str(),
    };
    let mut zones = Vec::new();
    let mut taken = HashSet::new();
    let mut add = |name: &str, target: &str, product: &ProductEntry| {
        let suffix = &catalogue.suffix;
        let full = |name: &str| name::parse(&format!("{name}.{suffix}")).ok();
        // A detected region that makes no name maps nothing.
        if let (Some(apex), Some(target)) = (full(name), full(target))
            && taken.insert(NameKey::of(&apex))
        {
            let star = product.with_names_below.then(|| full(&format!("*.{name}"))).flatten();
            let owners = std::iter::once(apex.clone()).chain(star);
            let data = RData::CNAME(CNAME(target));
            let ttl = endpoints.ttl;
            let records =
                owners.map(|owner| ZoneRecord { owner, ttl, data: data.clone(), weight: None }).collect();
            let origin = ZoneOrigin::Endpoints;
            zones.push(ZoneSpec { origin, records, ..ZoneSpec::new(apex, ZoneMode::RecursionProxy) });
        }
    };
    for product in chosen(endpoints) {
        for region in regions {
            let Some(target) = product.target(endpoints.target, region) else { continue };
            for name in &product.names {
                add(&filled(name, region), &target, product);
            }
        }
        let central = product.target(endpoints.target, home);
        if let Some(target) = central.or_else(|| product.target(endpoints.target, &catalogue.home)) {
            for name in &product.central {
                add(name, &target, product);
            }
        }
    }
    zones
}

/// What is missing in a region: for each chosen product that has no target there, a sentence and a hint.
pub(super) fn gaps(endpoints: &Endpoints, region: &str) -> Vec<(String, String)> {
    let without = chosen(endpoints).filter(|product| product.target(endpoints.target, region).is_none());
    let tell = |product: &ProductEntry| {
        let name = &product.name;
        let message =
            format!("no popunify-vpc name is documented for {name} in {region}; its API name is not mapped");
        let hint = match product.vpc {
            Some(_) => "set target = \"product-vpc\" in [endpoints]".to_string(),
            None => format!("{name} is documented for {}", product.popunify.join(", ")),
        };
        (message, hint)
    };
    without.map(tell).collect()
}

/// The public name of a product in a region, if the catalogue has the product.
pub fn public_name(product: &str, region: &str) -> Option<String> {
    let catalogue = &*CATALOGUE;
    let is_it =
        |known: &&ProductEntry| known.name == product || known.aliases.iter().any(|alias| alias == product);
    let found = catalogue.product.iter().find(is_it)?;
    let name =
        found.names.first().map(|name| filled(name, region)).or_else(|| found.central.first().cloned())?;
    Some(format!("{name}.{}", catalogue.suffix))
}

/// The public names that clients of ECS ask for in a region, and the name inside a VPC that they are to lead to: the one
/// that is documented, else the product's own.
pub fn ecs_names(region: &str) -> (Vec<String>, Option<String>) {
    let catalogue = &*CATALOGUE;
    let Some(ecs) = catalogue.product.iter().find(|product| product.name == "ecs") else {
        return (Vec::new(), None);
    };
    let full = |name: &str| format!("{name}.{}", catalogue.suffix);
    let own = ecs.names.iter().map(|name| full(&filled(name, region)));
    // Those without a region are asked for in the region that they name, or in any.
    let names_region = |name: &&String| !name.contains('-') || name.ends_with(region);
    let central = ecs.central.iter().filter(names_region).map(|name| full(name));
    let target = ecs.target(EndpointTarget::PopunifyVpc, region);
    let target = target.or_else(|| ecs.target(EndpointTarget::ProductVpc, region));
    (own.chain(central).collect(), target.map(|name| full(&name)))
}

/// Names of the API that tells endpoints. They are no product's in the catalogue: inside a VPC they have no own name.
const LOCATION: [&str; 2] = ["location", "location-readonly"];

/// True for a name under which an API of the catalogue is reached, from outside or inside a VPC; in lower case.
/// Names below such names, which are buckets and projects of anyone, are none.
pub fn is_api_name(name: &str) -> bool {
    let catalogue = &*CATALOGUE;
    let Some(bare) = name.strip_suffix(&catalogue.suffix).and_then(|name| name.strip_suffix('.')) else {
        return false;
    };
    let in_region = |pattern: &str| {
        let Some((before, behind)) = pattern.split_once("{region}") else { return false };
        let region = bare.strip_prefix(before).and_then(|rest| rest.strip_suffix(behind));
        region.is_some_and(|region| catalogue.regions.iter().any(|known| known == region))
    };
    let of_product = |product: &ProductEntry| {
        let patterns = product.names.iter().chain(&product.vpc);
        let central = product.central.iter().chain(&product.vpc_central);
        patterns.into_iter().any(|pattern| in_region(pattern))
            || central.into_iter().any(|known| known == bare)
    };
    LOCATION.contains(&bare) || in_region("popunify-vpc.{region}") || catalogue.product.iter().any(of_product)
}

/// The region that an API name belongs to, for all names of the catalogue.
pub(super) fn region_of(name: &str) -> Option<&'static str> {
    let catalogue = &*CATALOGUE;
    let bare = name.strip_suffix(&catalogue.suffix)?.strip_suffix('.')?;
    let patterns = || catalogue.product.iter().flat_map(|product| &product.names);
    let is_in = |region: &&String| patterns().any(|pattern| filled(pattern, region) == bare);
    catalogue.regions.iter().find(is_in).map(String::as_str)
}

/// The products that are switched on, in the catalogue's order.
fn chosen(endpoints: &Endpoints) -> impl Iterator<Item = &'static ProductEntry> {
    CATALOGUE.product.iter().filter(|product| endpoints.products.contains(&product.name))
}

/// A pattern with a region put in.
fn filled(pattern: &str, region: &str) -> String {
    pattern.replace("{region}", region)
}
