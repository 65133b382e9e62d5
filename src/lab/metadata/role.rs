//! The role of the instance: its credentials, and when there are new ones.

use crate::base::timestamp;
use crate::lab::credentials::{Credentials, Issuer};
use serde_json::json;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// A role whose credentials the metadata service hands out.
#[derive(Debug)]
pub struct Role {
    /// Its name.
    pub name: String,
    issuer: Issuer,
    life: Duration,
    /// The newest credentials, and when they were issued.
    newest: Mutex<Option<(SystemTime, Credentials)>>,
}

impl Role {
    /// A role whose credentials live so long.
    pub fn new(name: String, issuer: Issuer, life: Duration) -> Self {
        Self { name, issuer, life, newest: Mutex::default() }
    }

    /// The credentials as the service tells them. Once half of their life has passed there are new ones, while the
    /// former are still good: clients that renew before the end find them.
    pub(super) fn tell(&self, now: SystemTime) -> Option<String> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let is_young = |issued: &SystemTime| now.duration_since(*issued).is_ok_and(|age| age < self.life / 2);
        if !newest.as_ref().is_some_and(|(issued, _)| is_young(issued)) {
            let session = format!("vm-ram-{}", super::items::INSTANCE_ID);
            *newest = Some((now, self.issuer.issue(&self.name, &session, now, self.life).ok()?));
        }
        let (issued, Credentials { key, token, end }) = newest.as_ref()?;
        let text = json!({
            "AccessKeyId": key.id,
            "AccessKeySecret": key.secret(),
            "Expiration": timestamp::format(*end),
            "SecurityToken": token,
            "LastUpdated": timestamp::format(*issued),
            "Code": "Success",
        });
        serde_json::to_string_pretty(&text).ok()
    }
}
