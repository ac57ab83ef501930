//! Queues, as their users see them.

mod first;
