//! `ClientToken`: the same change sent again is answered again and not made again. Answers are kept by this process, or, in a
//! fleet, in its etcd.

use crate::api::Params;
use serde_json::{Map, Value};
use std::collections::hash_map::RandomState;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::MutexGuard;

/// Answers that are kept. A client that sends again does so within seconds.
const KEPT: usize = 4096;

/// How long they are kept.
const LIFE: Duration = Duration::from_secs(24 * 3600);

/// Characters of a token.
const MAX_TOKEN: usize = 64;

/// Action, access key and token of a change.
pub type TokenKey = (&'static str, String, String);

/// Changes with a token that may be under way at a time. Two tokens that share a turn wait for each other, no more.
const TURNS: usize = 64;

/// The answers of recent changes.
#[derive(Debug)]
pub struct Tokens {
    kept: Mutex<KeptAnswer>,
    turns: Vec<tokio::sync::Mutex<()>>,
    hasher: RandomState,
}

impl Default for Tokens {
    fn default() -> Self {
        let turns = (0..TURNS).map(|_| tokio::sync::Mutex::default()).collect();
        Self { kept: Mutex::default(), turns, hasher: RandomState::new() }
    }
}

#[derive(Debug, Default)]
struct KeptAnswer {
    answers: HashMap<TokenKey, (Instant, Map<String, Value>)>,
    order: VecDeque<TokenKey>,
}

impl Tokens {
    /// What a change is known by, if the client sent a token that can be one.
    pub fn key(&self, action: &'static str, access_key: &str, params: &Params) -> Option<TokenKey> {
        let token =
            params.text("ClientToken").filter(|token| token.is_ascii() && token.len() <= MAX_TOKEN)?;
        Some((action, access_key.into(), token.into()))
    }

    /// Waits until no other change of this token is under way: what is sent again may come while the first is.
    pub async fn turn(&self, key: &TokenKey) -> MutexGuard<'_, ()> {
        let place = self.hasher.hash_one(key) as usize % self.turns.len();
        self.turns[place].lock().await
    }

    /// The answer that was given.
    pub fn answer(&self, key: &TokenKey) -> Option<Map<String, Value>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, answer) = kept.answers.get(key)?;
        (at.elapsed() < LIFE).then(|| answer.clone())
    }

    /// Keeps an answer; the oldest goes.
    pub fn keep(&self, key: TokenKey, answer: Map<String, Value>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.answers.insert(key.clone(), (Instant::now(), answer)).is_none() {
            kept.order.push_back(key);
        }
        if kept.order.len() > KEPT
            && let Some(oldest) = kept.order.pop_front()
        {
            kept.answers.remove(&oldest);
        }
    }
}
