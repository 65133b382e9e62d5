//! Unpredictable randomness: query ids, ports, 0x20 case, cookies.
//!
//! All of it comes from the kernel, in blocks, because a system call for each query id would be the larger part of
//! sending one.
//!
//! A simulation makes its thread's randomness [`predictable`], so that it can be repeated. Nothing of the program does,
//! and no configuration leads there: a test of the repository looks for the word.

use std::cell::RefCell;
use std::io;
use std::marker::PhantomData;

/// How much is drawn at once.
const BLOCK: usize = 4096;

/// Bytes drawn and not yet used.
struct Pool {
    /// The block last drawn. Used bytes are overwritten.
    block: [u8; BLOCK],
    /// How many of its bytes, from the end, are unused.
    left: usize,
    /// The source of the next block in a simulation, instead of the kernel.
    seed: Option<u64>,
}

impl Pool {
    /// Draws a block.
    fn fill(&mut self) -> io::Result<()> {
        match &mut self.seed {
            None => getrandom::fill(&mut self.block).map_err(|e| io::Error::other(e.to_string()))?,
            Some(seed) => self.block.as_chunks_mut().0.iter_mut().for_each(|eight| *eight = split_mix(seed)),
        }
        self.left = BLOCK;
        Ok(())
    }
}

thread_local! {
    /// One pool a thread, so that none waits for another.
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { block: [0; BLOCK], left: 0, seed: None }) };
}

/// `N` random bytes. An error means that the kernel gave none, and that no query can be sent safely.
pub(super) fn bytes<const N: usize>() -> io::Result<[u8; N]> {
    const { assert!(N <= BLOCK) };
    POOL.with_borrow_mut(|pool| {
        if pool.left < N {
            pool.fill()?;
        }
        let at = BLOCK - pool.left;
        let mut out = [0; N];
        out.copy_from_slice(&pool.block[at..at + N]);
        pool.block[at..at + N].fill(0);
        pool.left -= N;
        Ok(out)
    })
}

/// A random number below one, for choices that are no secret: 0 when the kernel gives nothing.
pub(super) fn fraction() -> f64 {
    bytes().map_or(0.0, |b| f64::from(u32::from_ne_bytes(b)) / (f64::from(u32::MAX) + 1.0))
}

/// This thread's randomness follows from `seed` until the guard is dropped: every id, port and cookie can be guessed.
/// For simulations, and for nothing else.
#[must_use]
pub fn predictable(seed: u64) -> Predictable {
    POOL.with_borrow_mut(|pool| (pool.left, pool.seed) = (0, Some(seed)));
    Predictable(PhantomData)
}

/// While it lives, this thread's randomness can be predicted.
#[derive(Debug)]
pub struct Predictable(PhantomData<*const ()>); // it ends on the thread where it began

impl Drop for Predictable {
    fn drop(&mut self) {
        POOL.with_borrow_mut(|pool| (pool.left, pool.seed) = (0, None));
    }
}

/// The next eight octets of SplitMix64.
fn split_mix(state: &mut u64) -> [u8; 8] {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)).to_ne_bytes()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    #[test]
    fn predictable_is_what_the_guard_covers_and_nothing_after_it() {
        let draw = || super::bytes::<16>().unwrap();
        let predicted = || {
            let _guard = super::predictable(7);
            (draw(), draw())
        };
        let (first, second) = (predicted(), predicted());
        assert_eq!(first, second);
        assert_ne!(first.0, first.1);
        assert!(draw() != first.0 && draw() != first.1);
    }

    #[test]
    fn no_byte_is_given_twice() {
        let drawn: HashSet<[u8; 16]> = (0..1000).map(|_| super::bytes().unwrap()).collect();
        assert_eq!(drawn.len(), 1000);
    }

    #[test]
    fn a_fraction_is_below_one() {
        assert!((0..1000).map(|_| super::fraction()).all(|f| (0.0..1.0).contains(&f)));
    }
}
