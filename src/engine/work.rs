//! Counts the work of answers, for tests: records visited and unpacked, octets copied. Tests use these counts to limit
//! the cost of large sets independently of the machine; other builds count nothing.

/// The counts of one thread.
#[cfg(test)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Packed records that were looked at.
    pub visited: usize,
    /// Records that were decoded.
    pub unpacked: usize,
    /// Records that were encoded.
    pub written: usize,
}

#[cfg(test)]
thread_local! {
    static WORK: std::cell::Cell<Work> = const { std::cell::Cell::new(Work { visited: 0, unpacked: 0, written: 0 }) };
}

/// What `action` costs.
#[cfg(test)]
pub fn count<T>(action: impl FnOnce() -> T) -> (T, Work) {
    WORK.set(Work::default());
    let result = action();
    (result, WORK.get())
}

/// A packed record was looked at.
#[inline]
pub fn visited() {
    #[cfg(test)]
    WORK.set(Work { visited: WORK.get().visited + 1, ..WORK.get() });
}

/// A record was decoded.
#[inline]
pub fn unpacked() {
    #[cfg(test)]
    WORK.set(Work { unpacked: WORK.get().unpacked + 1, ..WORK.get() });
}

/// A record was encoded.
#[inline]
pub fn written() {
    #[cfg(test)]
    WORK.set(Work { written: WORK.get().written + 1, ..WORK.get() });
}

#[cfg(test)]
#[path = "work_tests.rs"]
mod tests;
