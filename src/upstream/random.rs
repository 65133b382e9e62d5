//! Randomness nobody can guess: query ids, ports, 0x20 case, cookies.
//!
//! All of it is the kernel's, drawn in blocks because a system call per query id would be the dearer half of
//! sending one.

use std::cell::RefCell;
use std::io;

/// How much is drawn at once.
const BLOCK: usize = 4096;

/// Bytes drawn and not yet used.
struct Pool {
    /// The block last drawn. Used bytes are overwritten.
    block: [u8; BLOCK],
    /// How many of its bytes, from the end, are unused.
    left: usize,
}

thread_local! {
    /// One pool a thread, so that none waits for another.
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { block: [0; BLOCK], left: 0 }) };
}

/// `N` random bytes. An error means that the kernel gave none, and that no query can be sent safely.
pub(super) fn bytes<const N: usize>() -> io::Result<[u8; N]> {
    const { assert!(N <= BLOCK) };
    POOL.with_borrow_mut(|pool| {
        if pool.left < N {
            getrandom::fill(&mut pool.block).map_err(|e| io::Error::other(e.to_string()))?;
            pool.left = BLOCK;
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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

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
