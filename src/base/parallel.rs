//! Work on many items in parallel, for starts, which wait for it.

use std::panic;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// The most threads.
const MAX_THREADS: usize = 8;

/// The results of work on each item, in the order of the items. As many threads as there are processors take `share`
/// items at a time; a single share is done on the calling thread.
pub fn map<T: Send, R: Send>(items: Vec<T>, share: usize, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let (count, share) = (items.len(), share.max(1));
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let threads = processors.min(MAX_THREADS).min(count.div_ceil(share));
    if threads <= 1 {
        return items.into_iter().map(work).collect();
    }
    let left = Mutex::new((0, items.into_iter()));
    let take = || {
        let mut left = left.lock().unwrap_or_else(PoisonError::into_inner);
        let some: Vec<T> = left.1.by_ref().take(share).collect();
        let first = left.0;
        left.0 += some.len();
        (!some.is_empty()).then_some((first, some))
    };
    let run = || -> Vec<(usize, Vec<R>)> {
        let mut done = Vec::new();
        while let Some((first, some)) = take() {
            done.push((first, some.into_iter().map(&work).collect()));
        }
        done
    };
    let mut done = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(run)).collect();
        let mut done = run();
        for other in others {
            done.extend(other.join().unwrap_or_else(|panic| panic::resume_unwind(panic)));
        }
        done
    });
    done.sort_unstable_by_key(|(first, _)| *first);
    let mut results = Vec::with_capacity(count);
    results.extend(done.into_iter().flat_map(|(_, some)| some));
    results
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_the_order_of_the_items() {
        for count in [0, 1, 2, 63, 64, 65, 1000] {
            for share in [0, 1, 7, 64, 5000] {
                let items: Vec<String> = (0..count).map(|n| n.to_string()).collect();
                let lengths: Vec<usize> = items.iter().map(String::len).collect();
                assert_eq!(map(items, share, |item| item.len()), lengths, "{count} by {share}");
            }
        }
    }

    #[test]
    fn a_panic_in_a_share_is_a_panic_here() {
        let work = |item: u32| assert_ne!(item, 77);
        assert!(panic::catch_unwind(|| map((0..100).collect(), 10, work)).is_err());
    }
}
