//! The proof that the objects of this store are ours to change.
//!
//! A data directory that was copied, or restored from a backup, has the identity of the one that it came from, and so the
//! names of its objects. If both removed what *they* no longer need, each would lose rows. So the first to use the tier
//! leaves a number there that is in its directory too, in a file that no backup has; whoever has another number neither
//! uploads nor removes anything. Reading needs no proof.

use object_store::PutPayload;
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::objects::{Objects, Put};
use crate::blocking::blocking;
use crate::disk::{create_durably, read_exact_at};
use crate::layout::Layout;
use crate::{Error, Result};

/// Name of the object, beside those of data files.
const OBJECT: &str = "OWNER";
/// The number, in hexadecimal.
const LENGTH: usize = 32;

/// Whether the objects are ours, once that is known.
#[derive(Debug)]
pub(super) struct Owner {
    layout: Layout,
    is_ours: OnceCell<()>,
}

impl Owner {
    pub(super) fn new(layout: Layout) -> Self {
        Self { layout, is_ours: OnceCell::new() }
    }

    /// Returns if the objects are ours, and makes them so if they are nobody's.
    ///
    /// # Errors
    /// `RemoteOwned` — they are another's.
    pub(super) async fn claim(&self, objects: &Objects) -> Result<()> {
        let claimed = self.is_ours.get_or_try_init(|| async {
            let layout = self.layout.clone();
            let number = blocking(move || own_number(&layout)).await?;
            let unavailable = |failure: super::objects::Failure| failure.unavailable("claim the tier");
            let put =
                objects.put_new(OBJECT, &PutPayload::from(number.clone())).await.map_err(unavailable)?;
            if put == Put::Existed {
                let size = objects.size(OBJECT).await.map_err(unavailable)?;
                let found = objects.get(OBJECT, 0..LENGTH as u64).await;
                let is_ours = size == Some(LENGTH as u64) && found.map_err(unavailable)? == number.as_bytes();
                if !is_ours {
                    return Err(Error::RemoteOwned);
                }
            }
            Ok(())
        });
        claimed.await.copied()
    }
}

/// The number of this data directory, made once.
///
/// Durable: when this returns.
fn own_number(layout: &Layout) -> Result<String> {
    let (disk, path) = (layout.disk(), layout.remote_owner());
    let io = |doing| Error::io(&path, doing);
    if disk.file_len(&path).is_ok_and(|length| length == LENGTH as u64) {
        let file = disk.open(&path).map_err(io("cannot open the file"))?;
        let bytes = read_exact_at(file.as_ref(), LENGTH, 0).map_err(io("cannot read the file"))?;
        return Ok(String::from_utf8_lossy(&bytes).into_owned());
    }
    let number = Uuid::now_v7().simple().to_string();
    create_durably(disk, &path, |file| file.write_all_at(number.as_bytes(), 0))
        .map_err(io("cannot write the file"))?;
    Ok(number)
}
