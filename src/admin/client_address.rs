//! Clients' addresses in logs: as they are, cut to their network, in place of them a word that tells one client from
//! another, or not at all.

use crate::base::client_form::{ClientForm, network};
use crate::stats::answer_filter::ClientMatch;
use ipnet::IpNet;
use ring::hmac;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Octets of a pseudonym.
const PSEUDONYM: usize = 8;

/// How addresses are shown.
#[derive(Debug)]
pub struct ClientAddress {
    form: ClientForm,
    /// For pseudonyms; made anew at each start, and kept nowhere.
    key: Option<hmac::Key>,
}

impl ClientAddress {
    /// Addresses in this form. Without randomness for a key there are no pseudonyms, and nothing is shown.
    pub fn new(form: ClientForm) -> Self {
        let mut secret = [0; 32];
        let key = (form == ClientForm::Pseudonym && getrandom::fill(&mut secret).is_ok())
            .then(|| hmac::Key::new(hmac::HMAC_SHA256, &secret));
        Self { form, key }
    }

    /// Address and port for a log line: empty and 0 where they are not told.
    pub fn shown(&self, client: SocketAddr) -> (String, u16) {
        let address = client.ip().to_canonical();
        match self.form {
            ClientForm::Full => (address.to_string(), client.port()),
            ClientForm::Prefix => (network(address).to_string(), 0),
            ClientForm::Pseudonym => (self.pseudonym(address), 0),
            ClientForm::None => (String::new(), 0),
        }
    }

    /// Address and port for a message whose fields have room for nothing else; nothing where they are not told.
    pub fn octets(&self, client: SocketAddr) -> Option<(IpAddr, Option<u16>)> {
        let port = (self.form == ClientForm::Full).then(|| client.port());
        Some((self.form.shown(client.ip())?, port))
    }

    fn pseudonym(&self, address: IpAddr) -> String {
        let Some(key) = &self.key else { return String::new() };
        let tag = match address {
            IpAddr::V4(address) => hmac::sign(key, &address.octets()),
            IpAddr::V6(address) => hmac::sign(key, &address.octets()),
        };
        format!("client-{}", data_encoding::HEXLOWER.encode(&tag.as_ref()[..PSEUDONYM]))
    }
}

/// Clients by what is shown of them: an address, a network, or a part of the text.
#[derive(Debug)]
pub struct ClientPattern {
    shown: Arc<ClientAddress>,
    network: Option<IpNet>,
    part: String,
}

impl ClientPattern {
    /// The clients that a text means.
    pub fn new(shown: Arc<ClientAddress>, text: &str) -> Self {
        let address = || text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical()));
        Self { shown, network: text.parse().or_else(|_| address()).ok(), part: text.to_ascii_lowercase() }
    }
}

impl ClientMatch for ClientPattern {
    fn matches(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        match (self.shown.form, &self.network) {
            (ClientForm::Full, Some(wanted)) => wanted.contains(&client),
            (ClientForm::Prefix, Some(wanted)) => wanted.contains(&network(client)),
            (ClientForm::None, _) => false,
            _ => self.shown.shown(SocketAddr::new(client, 0)).0.contains(&self.part),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_tells_no_more_of_a_client_than_is_shown() {
        let matches = |form, text: &str, client: &str| {
            let shown = Arc::new(ClientAddress::new(form));
            ClientPattern::new(shown, text).matches(client.parse().unwrap())
        };
        for text in ["10.1.2.3", "::ffff:10.1.2.3", "10.1.0.0/16", "10.1.2.", "1.2.3"] {
            assert!(matches(ClientForm::Full, text, "::ffff:10.1.2.3"), "{text}");
        }
        assert!(!matches(ClientForm::Full, "10.1.2.3", "10.1.2.30"), "an address is no part of a text");
        assert!(matches(ClientForm::Full, "2001:DB8::", "2001:db8::"));
        assert!(matches(ClientForm::Prefix, "10.1.2.0/24", "10.1.2.3"));
        assert!(!matches(ClientForm::Prefix, "10.1.2.3", "10.1.2.3"), "the address is not shown");
        assert!(!matches(ClientForm::Prefix, "10.1.2.0/25", "10.1.2.3"));
        for text in ["10.1.2.3", "10.1", "0.0.0.0/0", ""] {
            assert!(!matches(ClientForm::None, text, "10.1.2.3"), "{text}");
        }
        assert!(!matches(ClientForm::Pseudonym, "10.1.2.3", "10.1.2.3"));
        assert!(matches(ClientForm::Pseudonym, "client-", "10.1.2.3"));
    }

    #[test]
    fn an_address_is_shown_as_far_as_it_is_wanted() {
        let shown = |form, client: &str| ClientAddress::new(form).shown(client.parse().unwrap());
        let (v4, v6, mapped) = ("10.1.2.3:4000", "[2001:db8:1:2ff::5]:4000", "[::ffff:10.1.2.3]:4000");
        assert_eq!(shown(ClientForm::Full, mapped), ("10.1.2.3".into(), 4000));
        assert_eq!(shown(ClientForm::Prefix, v4), ("10.1.2.0/24".into(), 0));
        assert_eq!(shown(ClientForm::Prefix, mapped), ("10.1.2.0/24".into(), 0));
        assert_eq!(shown(ClientForm::Prefix, v6), ("2001:db8:1:200::/56".into(), 0));
        assert_eq!(shown(ClientForm::None, v4), (String::new(), 0));
    }

    #[test]
    fn a_pseudonym_tells_clients_apart_until_the_next_start() {
        let (one, other) = ("10.1.2.3:1".parse().unwrap(), "10.1.2.4:1".parse().unwrap());
        let again: SocketAddr = "[::ffff:10.1.2.3]:2".parse().unwrap();
        let client = ClientAddress::new(ClientForm::Pseudonym);
        assert_eq!(client.shown(one), client.shown(again));
        assert_ne!(client.shown(one), client.shown(other));
        assert_ne!(client.shown(one), ClientAddress::new(ClientForm::Pseudonym).shown(one));
        assert!(client.shown(one).0.starts_with("client-"));
    }

    #[test]
    fn octets_tell_no_more_than_text() {
        let octets = |form| ClientAddress::new(form).octets("10.1.2.3:4000".parse().unwrap());
        assert_eq!(octets(ClientForm::Full), Some(("10.1.2.3".parse().unwrap(), Some(4000))));
        assert_eq!(octets(ClientForm::Prefix), Some(("10.1.2.0".parse().unwrap(), None)));
        assert_eq!((octets(ClientForm::Pseudonym), octets(ClientForm::None)), (None, None));
    }
}
