//! What is not believed: forgeries, and replies that call for more than the pool does.

use super::*;
use crate::upstream::tests::fake::{reply_rcode, with_cookie};
use hickory_proto::op::ResponseCode;

/// Many letters: the chance that 0x20 leaves all of them as they are is 2^-26.
const NAME: &str = "abcdefghijklmnopqrstuvwxyz.example";

/// An answer with one thing wrong.
type Forgery = (&'static str, fn(&Asked) -> Vec<u8>);

const FORGERIES: [Forgery; 7] = [
    ("another id", |asked| forge(asked, |message| message.metadata.id ^= 1)),
    ("another name", |asked| forge(asked, |message| message.queries[0].name = parse("b.example").unwrap())),
    ("another type", |asked| forge(asked, |message| message.queries[0].query_type = RecordType::AAAA)),
    ("no question", |asked| forge(asked, |message| message.queries.clear())),
    ("two questions", |asked| forge(asked, |message| message.queries.push(message.queries[0].clone()))),
    ("a query", |asked| asked.message.to_vec().unwrap()),
    ("one octet", |_| vec![0]),
];

fn forge(asked: &Asked, spoil: impl Fn(&mut Message)) -> Vec<u8> {
    let mut message = answer_a(asked, 66);
    spoil(&mut message);
    message.to_vec().unwrap()
}

#[test]
fn a_forged_reply_reaches_no_client_and_the_right_one_still_counts() {
    for (row, forged) in FORGERIES {
        let (world, upstream) = (World::new(), Upstream::new());
        world.ask(&upstream, &[(NAME, 1)]);
        let heard = upstream.hear();
        upstream.say(&forged(&heard.asked), &heard);
        world.settle();
        assert_eq!((upstream.counts().mismatches, upstream.counts().successes), (1, 0), "{row}");
        upstream.answer(&heard, 7);
        assert_eq!(world.told(), Told::Plain(1, 7), "{row}");
    }
}

#[test]
fn what_a_server_may_mean_goes_the_long_way_and_is_not_believed() {
    let folded: Forgery = ("folded case", |asked| {
        forge(asked, |message| message.queries[0].name = message.queries[0].name.to_lowercase())
    });
    let bare: Forgery = ("a bare error", |asked| {
        let mut reply = reply_rcode(asked, ResponseCode::FormErr).remove(0);
        reply.truncate(12);
        reply[5] = 0; // no question
        reply
    });
    for (row, doubtful) in [folded, bare] {
        let (world, upstream) = (World::new(), Upstream::new());
        world.ask(&upstream, &[(NAME, 1)]);
        let heard = upstream.hear();
        upstream.say(&doubtful(&heard.asked), &heard);
        world.expect([Told::LongWay(1)]);
        let counts = upstream.counts();
        assert_eq!((counts.mismatches, counts.successes, counts.bad_rcodes), (1, 0, 0), "{row}");
    }
}

#[test]
fn after_three_strangers_the_port_is_left_and_its_waiters_go_the_long_way() {
    for (row, forged) in FORGERIES {
        let (world, upstream) = (World::new(), Upstream::new());
        world.ask(&upstream, &[(NAME, 1), ("other.example", 2)]);
        let heard = [upstream.hear(), upstream.hear()];
        (0..2).for_each(|_| upstream.say(&forged(&heard[0].asked), &heard[0]));
        world.settle();
        assert_eq!(world.sockets(), 1, "{row}");
        upstream.say(&forged(&heard[0].asked), &heard[0]);
        let mut told = [world.told(), world.told()];
        told.sort_by_key(|told| *told != Told::LongWay(1));
        assert_eq!(told, [Told::LongWay(1), Told::LongWay(2)], "{row}");
        world.settle();
        assert_eq!(world.sockets(), 0, "{row}");

        // a lucky guess comes too late, and the next question has another port
        upstream.answer(&heard[0], 66);
        world.ask(&upstream, &[(NAME, 3)]);
        let again = upstream.hear();
        assert_ne!(again.from, heard[0].from, "{row}");
        upstream.answer(&again, 7);
        assert_eq!(world.told(), Told::Plain(3, 7), "{row}");
        world.settle();
    }
}

#[test]
fn what_comes_in_one_burst_with_the_third_stranger_is_not_believed() {
    let (world, upstream) = (World::new(), Upstream::new());
    world.ask(&upstream, &[(NAME, 1)]);
    let heard = upstream.hear();
    let (_, forged) = FORGERIES[0];
    (0..10).for_each(|_| upstream.say(&forged(&heard.asked), &heard));
    upstream.answer(&heard, 66); // the guess that is right
    world.expect([Told::LongWay(1)]);
    assert_eq!(upstream.counts().mismatches, 3);
}

#[test]
fn a_datagram_is_held_against_the_questions_of_its_own_socket_only() {
    let (world, upstream) = (World::new(), Upstream::new());
    world.ask(&upstream, &[("a.example", 1)]);
    world.ask(&upstream, &[("b.example", 2)]);
    let (first, second) = (upstream.hear(), upstream.hear());
    assert_ne!(first.from, second.from);
    upstream.say(&answer_a(&first.asked, 66).to_vec().unwrap(), &second);
    world.settle();
    assert_eq!(upstream.counts().mismatches, 1);
    upstream.answer(&first, 7);
    world.expect([Told::Plain(1, 7)]);
}

#[test]
fn a_reply_from_another_address_is_never_seen() {
    let (world, upstream, elsewhere) = (World::new(), Upstream::new(), Upstream::new());
    world.ask(&upstream, &[(NAME, 1)]);
    let heard = upstream.hear();
    elsewhere.answer(&heard, 66);
    world.settle();
    assert_eq!(upstream.counts().mismatches, 0);
    upstream.answer(&heard, 7);
    world.expect([Told::Plain(1, 7)]);
}

/// One question, this reply: its waiter takes the slow path, the question is no longer open, and the reply is not
/// held against the server's port.
#[track_caller]
fn goes_the_long_way(row: &str, upstream: &Upstream, reply: impl Fn(&Asked) -> Vec<u8>) {
    let world = World::new();
    world.ask(upstream, &[(NAME, 1), (NAME, 2)]);
    let heard = upstream.hear();
    upstream.say(&reply(&heard.asked), &heard);
    assert_eq!([world.told(), world.told()], [Told::LongWay(1), Told::LongWay(2)], "{row}");
    world.settle();
    assert_eq!(upstream.counts().mismatches, 0, "{row}");
    assert!(world.ask(upstream, &[(NAME, 3)]).is_empty(), "{row}");
    upstream.hear();
}

#[test]
fn an_unusual_reply_goes_the_long_way() {
    goes_the_long_way("cut", &Upstream::new(), |asked| {
        forge(asked, |message| message.metadata.truncation = true)
    });
    goes_the_long_way("cut in the middle of a record", &Upstream::new(), |asked| {
        let mut cut = forge(asked, |message| message.metadata.truncation = true);
        cut.truncate(cut.len() - 9);
        cut
    });
    for rcode in [ResponseCode::ServFail, ResponseCode::Refused, ResponseCode::FormErr, ResponseCode::NotImp]
    {
        let upstream = Upstream::new();
        goes_the_long_way("a failing code", &upstream, |asked| reply_rcode(asked, rcode).remove(0));
        assert_eq!((upstream.counts().bad_rcodes, upstream.counts().successes), (1, 0));
    }
    goes_the_long_way("another's cookie", &Upstream::new(), |asked| {
        with_cookie(answer_a(asked, 66), vec![0; 16]).to_vec().unwrap()
    });
    goes_the_long_way("what cannot be read", &Upstream::new(), |asked| {
        let mut odd = Asked { message: asked.message.clone(), over_tcp: false, number: 1 };
        odd.message.metadata.response_code = ResponseCode::NXDomain; // a handler takes NOERROR as it is
        let mut bytes = answer_a(&odd, 66).to_vec().unwrap();
        bytes.truncate(bytes.len() - 2);
        bytes
    });
}

/// A server that is known to send cookies.
fn baker() -> Upstream {
    let upstream = Upstream::new();
    upstream.server.learn(|memory| memory.learned_cookie(vec![9; 8], Instant::now()));
    upstream
}

#[test]
fn without_the_cookie_of_a_server_known_to_send_one_nothing_is_believed() {
    goes_the_long_way("no cookie", &baker(), |asked| answer_a(asked, 66).to_vec().unwrap());
    goes_the_long_way("our half only", &baker(), |asked| {
        with_cookie(answer_a(asked, 66), asked.cookie().unwrap()[..8].to_vec()).to_vec().unwrap()
    });
    goes_the_long_way("another's", &baker(), |asked| {
        with_cookie(answer_a(asked, 66), vec![0; 16]).to_vec().unwrap()
    });
}

#[test]
fn with_its_cookie_it_is() {
    let (world, upstream) = (World::new(), baker());
    world.ask(&upstream, &[("odd.example", 1)]);
    let heard = upstream.hear();
    let cookie = heard.asked.cookie().unwrap();
    assert_eq!(cookie[8..], [9; 8], "the server's half goes back to it");
    upstream.say(&with_cookie(answer_a(&heard.asked, 7), cookie).to_vec().unwrap(), &heard);
    world.expect([Told::Read(1, 7)]);
}

#[test]
fn each_question_has_its_own_id_and_case() {
    let (world, upstream) = (World::new(), Upstream::new());
    let names: Vec<String> = (0..20).map(|i| format!("{i}.{NAME}")).collect();
    world.ask(&upstream, &names.iter().map(|name| (name.as_str(), 1)).collect::<Vec<_>>());
    let heard: Vec<Heard> = names.iter().map(|_| upstream.hear()).collect();
    let distinct =
        |of: fn(&Heard) -> String| heard.iter().map(of).collect::<std::collections::HashSet<_>>().len();
    assert!(distinct(|heard| heard.asked.message.id.to_string()) == 20);
    assert!(distinct(|heard| heard.asked.name().to_ascii().split_once('.').unwrap().1.to_owned()) >= 19);
}
