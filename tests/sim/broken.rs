//! Each invariant is seen to fail once: something is made wrong on purpose, and the right one must notice.

use crate::simulator::dice::Dice;
use crate::simulator::run::{Sabotage, play};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{RData, Record};

/// Runs until this invariant is broken; others may be too, since one thing wrong is often two.
fn breaks(invariant: &str, sabotage: Sabotage) {
    let mut others = Vec::new();
    for seed in 0..600 {
        match play(Dice::of_seed(seed), sabotage).broken {
            Some(broken) if broken.invariant == invariant => return,
            Some(broken) => others.push(format!("{}: {}", broken.invariant, broken.why)),
            None => {}
        }
    }
    panic!("nothing broke `{invariant}`, but {others:#?}");
}

#[test]
fn another_id_is_noticed() {
    breaks("an answer belongs to its question", Sabotage::Answers(|answer| answer.metadata.id ^= 1));
}

#[test]
fn another_question_is_noticed() {
    let fold = |answer: &mut Message| {
        for question in &mut answer.queries {
            let name = question.name().to_lowercase();
            question.set_name(name);
        }
    };
    breaks("an answer belongs to its question", Sabotage::Answers(fold));
}

#[test]
fn an_answer_that_is_too_long_is_noticed() {
    breaks("an answer fits", Sabotage::Padding(1300));
}

#[test]
fn a_forgery_that_gets_everything_right_is_believed_and_noticed() {
    breaks("nothing forged is believed", Sabotage::Omniscience);
}

#[test]
fn a_question_for_a_private_name_is_noticed() {
    breaks("nothing leaves for private names", Sabotage::MissingZones);
}

#[test]
fn an_answer_for_another_view_is_noticed() {
    breaks("no private answer crosses a view", Sabotage::WrongClient);
}

#[test]
fn another_code_is_noticed() {
    let deny = |answer: &mut Message| {
        if answer.metadata.response_code == ResponseCode::NoError {
            answer.metadata.response_code = ResponseCode::NXDomain;
        }
    };
    breaks("the code is that of the last hop", Sabotage::Answers(deny));
}

#[test]
fn half_a_chain_is_noticed() {
    breaks("the code is that of the last hop", Sabotage::Answers(|answer| drop(answer.answers.pop())));
}

#[test]
fn a_record_that_nobody_said_is_noticed() {
    let add = |answer: &mut Message| {
        if let Some(last) = answer.answers.last() {
            let data = RData::A(A::new(192, 0, 2, 250));
            answer.answers.push(Record::from_rdata(last.name.clone(), last.ttl, data));
        }
    };
    breaks("the code is that of the last hop", Sabotage::Answers(add));
}

#[test]
fn a_ttl_that_grows_is_noticed() {
    let grow = |answer: &mut Message| answer.answers.iter_mut().for_each(|record| record.ttl += 1);
    breaks("TTLs never grow", Sabotage::Answers(grow));
}

#[test]
fn a_stale_answer_beyond_its_cap_is_noticed() {
    breaks("stale only within its cap", Sabotage::LongStale);
}

#[test]
fn an_answer_that_did_not_age_while_the_machine_slept_is_noticed() {
    breaks("TTLs never grow", Sabotage::LostSleep);
}

#[test]
fn a_failure_while_an_answer_holds_is_noticed() {
    let fail = |answer: &mut Message| {
        if answer.metadata.id % 2 == 1 {
            answer.metadata.response_code = ResponseCode::ServFail;
            answer.answers.clear();
            answer.authorities.clear();
        }
    };
    breaks("what holds is answered at once", Sabotage::Answers(fail));
}

#[test]
fn a_denied_name_that_has_another_type_is_noticed() {
    let exist = |answer: &mut Message| {
        if answer.metadata.response_code == ResponseCode::NXDomain && answer.metadata.id % 2 == 1 {
            answer.metadata.response_code = ResponseCode::NoError;
        }
    };
    breaks("what holds is answered at once", Sabotage::Answers(exist));
}

#[test]
fn an_answer_that_is_late_is_noticed() {
    breaks("nobody waits beyond four seconds", Sabotage::Slowness);
}

#[test]
fn more_than_may_be_is_noticed() {
    breaks("bounds hold", Sabotage::NoLimits);
}

#[test]
fn a_permit_that_is_never_given_back_is_noticed() {
    breaks("nothing is left behind", Sabotage::Leak);
}

#[test]
fn a_failure_for_no_reason_is_noticed() {
    let fail = |answer: &mut Message| answer.metadata.response_code = ResponseCode::ServFail;
    breaks("nothing fails without cause", Sabotage::Answers(fail));
}

#[test]
fn a_private_answer_that_is_vouched_for_is_noticed() {
    let vouch = |answer: &mut Message| answer.metadata.authentic_data = true;
    breaks("private answers are not authentic", Sabotage::Answers(vouch));
}

#[test]
fn a_server_that_is_taken_for_silent_is_noticed() {
    breaks("a server that answers is not silent", Sabotage::Deafness);
}

#[test]
fn a_part_of_an_answer_that_is_believed_is_noticed() {
    breaks("the code is that of the last hop", Sabotage::UnmarkedCuts);
}
