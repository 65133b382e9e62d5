//! Conversations with primaries that are slow, cut, or speak of something else.

use super::*;
use crate::engine::name::parse;
use crate::upstream::transfer::content::tests::soa;
use crate::upstream::transfer::limits::TransferLimits;
use tokio::net::TcpListener;

fn apex() -> NameKey {
    NameKey::of(&parse("corp.test").unwrap())
}

/// A primary that answers each query by what `answer` makes of its id, and then is silent.
async fn primary(answer: impl Fn([u8; 2]) -> Vec<u8> + Send + 'static) -> Primary {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let length = stream.read_u16().await.unwrap();
            let mut query = vec![0; usize::from(length)];
            stream.read_exact(&mut query).await.unwrap();
            let octets = answer([query[0], query[1]]);
            let _ = stream.write_all(&octets).await; // the requester may be gone
            let _ = stream.read(&mut [0]).await;
        }
    });
    Primary { address, key: None }
}

/// A framed answer with records of the answer section, which are counted by `count`.
fn framed(id: [u8; 2], flags: u8, kind: u8, count: u8, records: &[u8]) -> Vec<u8> {
    let mut message =
        [&id[..], &[flags, 0, 0, 1, 0, count, 0, 0, 0, 0], apex().wire(), &[0, kind, 0, 1]].concat();
    message.extend(records);
    [&(message.len() as u16).to_be_bytes()[..], &message].concat()
}

fn soa_record(serial: u32) -> Vec<u8> {
    let data = soa(serial).data;
    [apex().wire(), &[0, 6, 0, 1, 0, 0, 0, 60, 0, data.len() as u8], &data].concat()
}

async fn ask(primary: &Primary) -> Result<u32, TransferError> {
    Ok(TransferSession::begin(primary).await?.soa(&apex()).await?.serial())
}

#[tokio::test]
async fn a_soa_record_is_taken_from_authorities_only() {
    let answer = |flags| move |id| framed(id, flags, 6, 1, &soa_record(7));
    assert_eq!(ask(&primary(answer(0x84)).await).await.unwrap(), 7);
    assert!(matches!(ask(&primary(answer(0x80)).await).await, Err(TransferError::NotAuthoritative)));
    let other = primary(|_| framed([0, 0], 0x84, 6, 1, &soa_record(7))).await;
    assert!(matches!(ask(&other).await, Err(TransferError::Fault(TransferFault::OtherQuestion))));
    let none = primary(|id| framed(id, 0x84, 6, 0, &[])).await;
    assert!(matches!(ask(&none).await, Err(TransferError::Fault(TransferFault::NoSoa))));
}

#[tokio::test(start_paused = true)]
async fn a_primary_that_says_nothing_is_left() {
    let silent = primary(|_| Vec::new()).await;
    assert!(matches!(ask(&silent).await, Err(TransferError::Timeout)));
    let half = primary(|id| framed(id, 0x84, 6, 1, &soa_record(7))[..20].to_vec()).await;
    assert!(matches!(ask(&half).await, Err(TransferError::Timeout)));
}

#[tokio::test(start_paused = true)]
async fn a_primary_that_never_ends_is_left() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endless = Primary { address: listener.local_addr().unwrap(), key: None };
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let length = stream.read_u16().await.unwrap();
        let mut query = vec![0; usize::from(length)];
        stream.read_exact(&mut query).await.unwrap();
        let id = [query[0], query[1]];
        let mut next = framed(id, 0x84, 252, 1, &soa_record(7));
        while stream.write_all(&next).await.is_ok() {
            next = framed(id, 0x84, 252, 0, &[]); // a message without records, each in time
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
    });
    let limits = TransferLimits::default();
    let apex = apex();
    let asked = TransferQuestion { apex: &apex, since: None, most: 64 << 20 };
    let mut session = TransferSession::begin(&endless).await.unwrap();
    let result = session.transfer(asked, &mut limits.room()).await;
    assert!(matches!(result, Err(TransferError::TooLong)), "{result:?}");
}

#[test]
fn serials_decide_whether_a_transfer_is_asked_for() {
    assert!(compare(&soa(1), None).unwrap());
    assert!(compare(&soa(2), Some(&soa(1))).unwrap());
    assert!(!compare(&soa(2), Some(&soa(2))).unwrap());
    assert!(matches!(compare(&soa(1), Some(&soa(2))), Err(TransferError::Behind(1))));
}
