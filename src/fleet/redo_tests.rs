//! How large changes are cut.

use super::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn parts_and_batches_lose_nothing_and_are_bounded(sizes in proptest::collection::vec(0usize..300_000, 1..400)) {
        let change = |(number, size): (usize, &usize)| RowChange {
            key: format!("record/{number:020}").into(),
            value: (number % 3 > 0).then(|| vec![b'x'; size / 40]),
            modified: 0,
        };
        let changes: Vec<RowChange> = sizes.iter().enumerate().map(change).collect();
        let mut read = Vec::new();
        for part in parts(&changes).unwrap() {
            prop_assert!(part.len() < 1 << 20);
            read.extend(serde_json::from_slice::<Vec<(String, Option<String>)>>(&part).unwrap());
        }
        prop_assert_eq!(read.len(), changes.len());
        for ((key, value), change) in read.iter().zip(&changes) {
            prop_assert_eq!(key.as_str(), &*change.key);
            prop_assert_eq!(value.as_deref().map(str::as_bytes), change.value.as_deref());
        }
        let batches = batches(&changes);
        prop_assert_eq!(batches.iter().map(|batch| batch.len()).sum::<usize>(), changes.len());
        for batch in batches {
            let octets: usize = batch.iter().map(RowChange::octets).sum();
            prop_assert!(batch.len() <= ROWS && (octets <= OCTETS || batch.len() == 1));
        }
    }
}
