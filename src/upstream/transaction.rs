//! One question to one server, to its end: over UDP first, then whatever its reply calls for. To a server of
//! encrypted DNS it goes over a stream from the beginning.
//!
//! | what comes back                                   | what follows                                        |
//! |---------------------------------------------------|-----------------------------------------------------|
//! | an answer that matches in everything              | done                                                |
//! | a cut one (TC)                                    | TCP                                                 |
//! | one that matches in nothing, or lacks its cookie  | TCP beside the wait on UDP, which goes on           |
//! | an error without a question                       | the same; without TCP once more over UDP            |
//! | many of those                                     | TCP alone                                           |
//! | ours, but the case was folded                     | TCP; without TCP once more over UDP in lower case   |
//! | BADCOOKIE                                         | once more with the new cookie, then TCP             |
//! | FORMERR, or NOTIMP from who does not know EDNS    | once more without EDNS                              |
//!
//! There is no clock here: the caller stops waiting by dropping the future.

use std::io;

use crate::engine::name::NameKey;
use futures_util::FutureExt;
use futures_util::future::{Fuse, FusedFuture};
use hickory_proto::op::{Message, ResponseCode};

use super::capabilities::{Proof, QueryOptions};
use super::server::Server;
use super::transport::{self, classify};
use super::wire::{Carrier, Entropy, ReplyCookie, ReplyVerdict, SentQuery};
use super::{AttemptError, UpstreamQuery, now, random};

/// After this many wrong datagrams to one query, datagrams are no longer accepted.
const MAX_MISMATCHES: u32 = 8;
/// Rounds of one conversation, each a query and its reply: every reason to ask again can come once.
const MAX_ROUNDS: usize = 6;

/// A reply that matches the question, of whatever rcode.
pub(super) struct Response {
    /// The message.
    pub(super) message: Message,
    /// It came over TCP or TLS.
    pub(super) over_tcp: bool,
    /// The question was in random case, and the reply has it in another: the server folds case.
    folded: bool,
}

/// Why a round ended without a reply.
enum NoResponse {
    /// The conversation is over.
    Ended(AttemptError),
    /// The server folds case and cannot be asked over TCP.
    CaseFolded,
    /// All that came were errors without a question, and the server cannot be asked over TCP.
    Bare(ResponseCode),
}

/// Asks `server`, as often as its replies call for.
pub(super) async fn ask(server: &Server, query: &UpstreamQuery) -> Result<Response, AttemptError> {
    let mut options = server.query_options();
    let mut over_tcp = !server.address().is_plain();
    let mut retried_cookie = false;
    let mut dropped_edns = false;
    let mut dropped_case = false;
    let mut bare = None;
    for _ in 0..MAX_ROUNDS {
        let entropy = Entropy { id: draw()?, case: draw()? };
        let sent = SentQuery::new(query, &options, &entropy);
        let heard = if over_tcp {
            stream_round(server, &sent).await.map_err(NoResponse::Ended)
        } else {
            datagram_round(server, query, &sent, &options).await
        };
        let heard = match heard {
            Ok(heard) => heard,
            Err(NoResponse::Ended(outcome)) => return Err(outcome),
            Err(NoResponse::CaseFolded) => {
                options.mix_case = false;
                dropped_case = true;
                continue;
            }
            // The same again from another port, under another id: a forger does not guess that twice.
            Err(NoResponse::Bare(rcode)) if bare == Some(rcode) => return Err(AttemptError::Rcode(rcode)),
            Err(NoResponse::Bare(rcode)) => {
                bare = Some(rcode);
                if options.edns && matches!(rcode, ResponseCode::FormErr | ResponseCode::NotImp) {
                    options.edns = false;
                    dropped_edns = true;
                }
                continue;
            }
        };
        over_tcp = heard.over_tcp;
        match heard.message.metadata.response_code {
            ResponseCode::BADCOOKIE if !heard.over_tcp => {
                over_tcp = retried_cookie;
                retried_cookie = true;
                options.server_cookie = server.query_options().server_cookie; // the reply has brought a new one
            }
            rcode if options.edns && rejects_edns(rcode, &heard.message) => {
                options.edns = false;
                dropped_edns = true;
            }
            rcode => {
                if dropped_edns && !matches!(rcode, ResponseCode::FormErr | ResponseCode::NotImp) {
                    server.learn(|memory| memory.rejected_edns(&NameKey::of(&query.name), now()));
                }
                if dropped_case {
                    let name = NameKey::of(&query.name);
                    server.learn(|memory| memory.folded_case(&name, Proof::Datagram, now()));
                }
                return Ok(heard);
            }
        }
    }
    Err(AttemptError::Garbled)
}

/// Random bytes, or our own failure to get them.
fn draw<const N: usize>() -> Result<[u8; N], AttemptError> {
    random::bytes().map_err(|error| AttemptError::Local(error.to_string()))
}

/// Whether a reply says that the server does not speak EDNS (RFC 6891 section 7, and servers older than that).
fn rejects_edns(rcode: ResponseCode, message: &Message) -> bool {
    match rcode {
        ResponseCode::FormErr => true,
        ResponseCode::NotImp => message.edns.is_none(),
        // BADVERS, which the library reads as BADSIG: both are 16.
        ResponseCode::BADVERS | ResponseCode::BADSIG => true,
        _ => false,
    }
}

/// One query over UDP and the wait for its reply, with TCP beside it as soon as something looks wrong.
async fn datagram_round(
    server: &Server,
    query: &UpstreamQuery,
    sent: &SentQuery,
    options: &QueryOptions,
) -> Result<Response, NoResponse> {
    let network = |error: io::Error| NoResponse::Ended(classify(&error));
    let target = server.address().target().map_err(network)?;
    let mut socket = transport::datagram_socket(server.network(), target).map_err(network)?;
    socket.send(&sent.bytes).await.map_err(network)?;
    let sent_at = now();
    let mut listening = true;
    let mut wrong = Mismatches::default();
    let mut stream_error = None;
    let mut stream = std::pin::pin!(Fuse::terminated());
    loop {
        tokio::select! {
            biased;
            datagram = socket.receive(), if listening => {
                let datagram = match datagram {
                    Ok(datagram) => datagram,
                    // An ICMP error: what TCP brings may still be right.
                    Err(error) if wrong.any() && stream_error.is_none() => {
                        tracing::debug!(server = %server.address(), %error, "listening over TCP only");
                        listening = false;
                        continue;
                    }
                    Err(error) => return Err(network(error)),
                };
                match sent.judge(datagram, Carrier::Datagram) {
                    ReplyVerdict::Answer(_, ReplyCookie::Absent) if options.expects_cookie() => {}
                    ReplyVerdict::Answer(message, cookie) => {
                        server.measured(now().saturating_duration_since(sent_at));
                        server.learn(|memory| {
                            if let ReplyCookie::Server(cookie) = cookie { memory.learned_cookie(cookie, now()); }
                            memory.confirm(options.mix_case, message.edns.is_some());
                        });
                        return Ok(Response { message: *message, over_tcp: false, folded: false });
                    }
                    ReplyVerdict::Truncated => {
                        server.measured(now().saturating_duration_since(sent_at));
                        server.counters().tcp_fallbacks.bump();
                        return stream_round(server, sent).await.map_err(NoResponse::Ended);
                    }
                    ReplyVerdict::CaseFolded => wrong.folded_case = true,
                    ReplyVerdict::Bare(rcode) => wrong.bare = Some(rcode),
                    ReplyVerdict::Mismatch => wrong.strangers += 1,
                    ReplyVerdict::Malformed => wrong.unreadable = true,
                }
                wrong.datagrams += 1;
                server.counters().mismatches.bump();
                if stream.is_terminated() && stream_error.is_none() {
                    server.counters().tcp_fallbacks.bump();
                    stream.set(stream_round(server, sent).fuse());
                }
                if wrong.datagrams >= MAX_MISMATCHES {
                    listening = false;
                    if let Some(outcome) = stream_error.take() { return Err(NoResponse::Ended(outcome)); }
                }
            }
            result = &mut stream, if !stream.is_terminated() => match result {
                Ok(heard) => {
                    wrong.explain(server, query, &heard);
                    return Ok(heard);
                }
                // Nothing came but what the server itself said: there is nothing more to listen for.
                Err(_) if wrong.folded_case && wrong.strangers == 0 => return Err(NoResponse::CaseFolded),
                Err(_) if wrong.strangers == 0 && !wrong.unreadable => {
                    return Err(wrong.bare.map_or(NoResponse::Ended(AttemptError::Garbled), NoResponse::Bare));
                }
                Err(_) if wrong.strangers == 0 => return Err(NoResponse::Ended(AttemptError::Garbled)),
                Err(outcome) if !listening => return Err(NoResponse::Ended(outcome)),
                Err(outcome) => stream_error = Some(outcome),
            },
        }
    }
}

/// What was wrong with the datagrams that came so far.
#[derive(Default)]
struct Mismatches {
    /// How many came.
    datagrams: u32,
    /// Of those, how many were not ours at all; the others lacked their cookie, were unreadable, or folded.
    strangers: u32,
    /// One was ours, with the case folded.
    folded_case: bool,
    /// One was an error without a question.
    bare: Option<ResponseCode>,
    /// One was ours and could not be read.
    unreadable: bool,
}

impl Mismatches {
    /// Whether anything was.
    fn any(&self) -> bool {
        self.datagrams > 0
    }

    /// The true answer has come over TCP: what does that say of the server? Datagrams in another case are no evidence of
    /// folding, since a forger sends them too; the reply over TCP is.
    fn explain(&self, server: &Server, query: &UpstreamQuery, heard: &Response) {
        if self.folded_case && heard.folded {
            let name = NameKey::of(&query.name);
            server.learn(|memory| memory.folded_case(&name, Proof::Tcp, now()));
        }
        tracing::debug!(
            server = %server.address(), wrong = self.datagrams, rcode = %heard.message.metadata.response_code,
            "answered over TCP after replies over UDP that did not match"
        );
    }
}

/// The same query over a stream.
async fn stream_round(server: &Server, sent: &SentQuery) -> Result<Response, AttemptError> {
    let sent_at = now();
    let arrived = server.streams().ask(&sent.bytes).await?;
    let folded = sent.has_mixed_case() && !sent.is_echoed_by(&arrived.reply);
    match sent.judge(arrived.reply, Carrier::Stream) {
        ReplyVerdict::Answer(message, cookie) => {
            // What plain servers need over UDP is measured there; connecting is no part of what a server needs.
            if arrived.kept && !server.address().is_plain() {
                server.measured(now().saturating_duration_since(sent_at));
            }
            server.learn(|memory| {
                match cookie {
                    ReplyCookie::Server(cookie) => memory.learned_cookie(cookie, now()),
                    // No one else can have written this reply: the server has given up cookies, if it had them.
                    ReplyCookie::Absent => memory.gave_up_cookies(),
                }
                memory.confirm(false, message.edns.is_some());
            });
            // There is no further way to have the rest: a part of an answer is none.
            if message.metadata.truncation {
                return Err(AttemptError::Garbled);
            }
            Ok(Response { message: *message, over_tcp: true, folded })
        }
        _ => Err(AttemptError::Garbled),
    }
}
