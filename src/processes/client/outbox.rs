//! What is to be sent: frames that are gathered, and before them the rest of what the socket had no room for.
//!
//! One thread at a time sends. Who leaves frames behind while another sends may go: that one sends them too.

use super::super::operation::Kind;
use super::super::wire::Out;

#[derive(Default, Debug)]
pub(super) struct Outbox {
    gathered: Out,
    /// How many questions were taken back in what is gathered.
    withdrawn: usize,
    /// The peer has its beginning.
    rest: Sending,
    is_sending: bool,
    is_without_room: bool,
    /// Counts connections: what was under way over an earlier one is sent anew over this one.
    connection: u64,
}

/// Bytes on their way.
#[derive(Default, Debug)]
pub(super) struct Sending {
    bytes: Vec<u8>,
    sent: usize,
    connection: u64,
}

impl Sending {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }
}

impl Outbox {
    /// Where frames are put.
    pub(super) fn gathered(&mut self) -> &mut Out {
        &mut self.gathered
    }

    /// Takes a question back.
    pub(super) fn withdraw(&mut self, number: u64) {
        self.gathered.frame(Kind::Withdraw as u8, |out| out.varint(number));
        self.withdrawn += 1;
    }

    /// How many were taken back and have not begun on their way.
    pub(super) fn withdrawn(&self) -> usize {
        self.withdrawn
    }

    /// Nothing has begun on its way and not arrived in the socket.
    pub(super) fn is_between_frames(&self) -> bool {
        !self.is_sending && self.rest.bytes().is_empty()
    }

    pub(super) fn is_without_room(&self) -> bool {
        self.is_without_room
    }

    /// The socket may have room again.
    pub(super) fn has_room(&mut self) {
        self.is_without_room = false;
    }

    /// What the caller is to send; `None` if there is nothing, no room, or another thread is at it.
    pub(super) fn begin(&mut self) -> Option<Sending> {
        if self.is_sending || self.is_without_room {
            return None;
        }
        let mut next = std::mem::take(&mut self.rest);
        if next.bytes().is_empty() {
            next = Sending { bytes: self.gathered.take(), sent: 0, connection: self.connection };
            self.withdrawn = 0;
        }
        self.is_sending = !next.bytes().is_empty();
        self.is_sending.then_some(next)
    }

    /// As many bytes had room.
    pub(super) fn end(&mut self, mut sending: Sending, sent: usize) {
        if sending.connection != self.connection {
            return;
        }
        self.is_sending = false;
        sending.sent += sent;
        self.is_without_room = !sending.bytes().is_empty();
        self.rest = sending;
    }

    /// All that there was is to be sent over a new connection.
    pub(super) fn restart(&mut self) {
        *self = Outbox { connection: self.connection + 1, ..Outbox::default() };
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn gather(outbox: &mut Outbox, text: &[u8]) {
        outbox.gathered().raw(text);
    }

    #[test]
    fn what_had_no_room_goes_before_what_was_gathered_since() {
        let mut outbox = Outbox::default();
        gather(&mut outbox, b"one blue mug");
        let sending = outbox.begin().unwrap();
        gather(&mut outbox, b"two green plates");
        assert!(outbox.begin().is_none(), "another is at it");
        outbox.end(sending, 4);
        assert!(outbox.is_without_room() && outbox.begin().is_none() && !outbox.is_between_frames());
        outbox.has_room();
        let sending = outbox.begin().unwrap();
        assert_eq!(sending.bytes(), b"blue mug");
        outbox.end(sending, 8);
        assert!(outbox.is_between_frames());
        assert_eq!(outbox.begin().unwrap().bytes(), b"two green plates");
    }

    #[test]
    fn what_is_under_way_when_the_connection_ends_says_nothing_of_the_next() {
        let mut outbox = Outbox::default();
        gather(&mut outbox, b"one blue mug");
        let earlier = outbox.begin().unwrap();
        outbox.restart();
        gather(&mut outbox, b"one blue mug");
        let sending = outbox.begin().unwrap();
        outbox.end(earlier, 4);
        assert!(outbox.begin().is_none(), "the sender of this connection is at it");
        outbox.end(sending, 12);
        assert!(outbox.is_between_frames() && outbox.begin().is_none());
    }
}
