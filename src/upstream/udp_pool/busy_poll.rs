//! Whether to poll briefly for a reply before sleeping.
//!
//! Sleeping and waking takes a thread 10 to 20 µs on a virtual machine: longer than a server on the same host takes to
//! answer from its cache. So the pool first looks out for that long. From a distant server no reply comes so soon: each
//! unsuccessful poll halves the frequency of polls, until their cost is negligible.

use nix::poll::{PollFd, PollTimeout, poll};
use std::time::{Duration, Instant};

/// Maximum time of a poll: not longer than sleeping and waking.
const MAX_SPIN: Duration = Duration::from_micros(10);

/// Polls for the replies of one server.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BusyPoll {
    /// Waits without polling after an unsuccessful poll: at most 255.
    pause: u8,
    /// Remaining waits.
    left: u8,
}

impl BusyPoll {
    /// Polls for a reply or a client for a few microseconds, if due: true if there is one. The clients' socket is the
    /// first of `waits`.
    pub(super) fn look(&mut self, waits: &mut [PollFd<'_>]) -> bool {
        if !self.is_due() {
            return false;
        }
        let mut is_there = || poll(waits, PollTimeout::ZERO).is_ok_and(|ready| ready > 0);
        if is_there() {
            return true; // without polling, as if the server shares this CPU
        }
        let begun = Instant::now();
        while begun.elapsed() < MAX_SPIN {
            if is_there() {
                // a client does not count for the server
                if waits.iter().skip(1).any(|wait| wait.any() == Some(true)) {
                    self.saw(true);
                }
                return true;
            }
        }
        self.saw(false);
        false
    }

    /// True if this wait begins with a poll.
    fn is_due(&mut self) -> bool {
        let is_due = self.left == 0;
        self.left = self.left.saturating_sub(1);
        is_due
    }

    /// A poll ended, with or without a reply.
    fn saw(&mut self, reply: bool) {
        self.pause = if reply { 0 } else { self.pause.saturating_mul(2).saturating_add(1) };
        self.left = self.pause;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::poll::PollFlags;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixDatagram;

    /// Number of waits until the next poll.
    fn pause(busy_poll: &mut BusyPoll) -> usize {
        std::iter::from_fn(|| (!busy_poll.is_due()).then_some(())).count()
    }

    #[test]
    fn a_server_that_is_looked_for_in_vain_is_looked_for_ever_more_rarely() {
        let mut busy_poll = BusyPoll::default();
        assert_eq!(pause(&mut busy_poll), 0);
        for expected in [1, 3, 7, 15, 31, 63, 127, 255, 255] {
            busy_poll.saw(false);
            assert_eq!(pause(&mut busy_poll), expected);
        }
        busy_poll.saw(true);
        assert_eq!(pause(&mut busy_poll), 0, "it is near after all");
    }

    #[test]
    fn what_is_there_is_found_at_once_and_says_nothing_of_the_server() {
        let (clients, client) = UnixDatagram::pair().unwrap();
        let (replies, server) = UnixDatagram::pair().unwrap();
        let look = |busy_poll: &mut BusyPoll| {
            let waits = [&clients, &replies].map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN));
            (busy_poll.look(&mut { waits }), busy_poll.pause)
        };
        let mut busy_poll = BusyPoll::default();
        assert_eq!(look(&mut busy_poll), (false, 1), "there is nothing");
        server.send(b"reply").unwrap();
        assert_eq!(look(&mut busy_poll), (false, 1), "it is not looked");
        assert_eq!(look(&mut busy_poll), (true, 1), "a reply");
        replies.recv(&mut [0; 8]).unwrap();
        client.send(b"query").unwrap();
        assert_eq!(look(&mut busy_poll), (true, 1), "a client");
        clients.recv(&mut [0; 8]).unwrap();
        assert_eq!(look(&mut busy_poll), (false, 3), "nothing again");
    }
}
