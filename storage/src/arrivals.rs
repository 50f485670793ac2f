//! [`Arrivals`]: wakes those who follow a table when it gets rows.
//!
//! A follower is told of its own table alone: what others send neither wakes it nor shows.

use std::collections::HashMap;
use std::sync::Mutex;

use alula_catalog::SequenceNumber;
use tokio::sync::watch;

use crate::buffer::TableKey;
use crate::store::lock;

/// Who follows which table.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    /// Held to look up or to send, never across an await.
    followed: Mutex<HashMap<TableKey, watch::Sender<SequenceNumber>>>,
}

impl Arrivals {
    /// The last entry that was announced for a table after this call; 0 until there is one.
    pub(crate) fn follow(&self, table: TableKey) -> watch::Receiver<SequenceNumber> {
        lock(&self.followed).entry(table).or_default().subscribe()
    }

    /// Says that queries see the entries of these tables.
    pub(crate) fn announce(&self, entries: impl Iterator<Item = (TableKey, SequenceNumber)>) {
        let mut followed = lock(&self.followed);
        if followed.is_empty() {
            return;
        }
        // Here and not when a follower goes: whoever ingests pays for no more followers than there are.
        followed.retain(|_, sender| sender.receiver_count() > 0);
        for (table, seq) in entries {
            if let Some(sender) = followed.get(&table) {
                sender.send_replace(seq);
            }
        }
    }
}
