//! The proof that the objects of this store are ours to change.
//!
//! A data directory that was copied, or restored from a backup, has the identity of the one that it came from, and so the
//! names of its objects. If both removed what *they* no longer need, each would lose rows. So the first to use the tier
//! leaves a number there that is in its directory too, in a file that no backup has; whoever has another number neither
//! uploads nor removes anything. Reading needs no proof.
//!
//! A catalog that was built anew and may not have every object gives them up: else those that it lacks would be removed.
//! The number stays, under another name, so that a later repair can take them back.

use std::io;
use std::path::Path;

use object_store::PutPayload;
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::objects::{Failure, Objects, Put};
use crate::blocking::blocking;
use crate::disk::{create_durably, read_exact_at, sync_dir};
use crate::layout::Layout;
use crate::{Error, Result};

/// Name of the object, beside those of data files.
pub(super) const OBJECT: &str = "OWNER";
/// The number, in hexadecimal.
const LENGTH: usize = 32;
/// Numbers that are remembered after they were given up.
const GIVEN_UP: usize = 64;

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
            let unavailable = |failure: Failure| failure.unavailable("claim the tier");
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

/// Whose the objects are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// Of who has this number, as we do, or did before we gave them up.
    Ours {
        number: String,
    },
    Nobodys,
    Anothers,
}

/// Asks whose the objects are, and claims nothing.
pub(super) async fn ownership(objects: &Objects, layout: &Layout) -> Result<Ownership> {
    let unavailable = |failure: Failure| failure.unavailable("ask whose the tier is");
    match objects.size(OBJECT).await.map_err(unavailable)? {
        None => return Ok(Ownership::Nobodys),
        Some(size) if size != LENGTH as u64 => return Ok(Ownership::Anothers),
        Some(_) => {}
    }
    let found = objects.get(OBJECT, 0..LENGTH as u64).await.map_err(unavailable)?;
    let layout = layout.clone();
    let numbers = blocking(move || all_numbers(&layout)).await?;
    let ours = numbers.into_iter().find(|number| number.as_bytes() == found);
    Ok(ours.map_or(Ownership::Anothers, |number| Ownership::Ours { number }))
}

/// Sees to it that the objects are somebody's: if they were nobody's, they are of a number that nobody has.
pub(super) async fn keep_from_all(objects: &Objects) -> Result<()> {
    let number = Uuid::now_v7().simple().to_string();
    let put = objects.put_new(OBJECT, &PutPayload::from(number)).await;
    put.map(drop).map_err(|failure| failure.unavailable("keep objects that no catalog has"))
}

/// Whether this data directory ever claimed a tier.
pub(crate) fn had_remote_tier(layout: &Layout) -> bool {
    let paths = [layout.remote_owner(), layout.remote_owner_given_up()];
    paths.iter().any(|path| layout.disk().file_len(path).is_ok())
}

/// From here on this data directory moves no file to the tier and removes no object, until [`take_back`].
///
/// Durable: when this returns.
pub(crate) fn give_up(layout: &Layout) -> Result<()> {
    let (disk, path) = (layout.disk(), layout.remote_owner_given_up());
    let numbers = all_numbers(layout)?;
    if numbers.is_empty() {
        return Ok(());
    }
    // All of them: a server that finds the objects another's leaves a number of its own here that is of no use.
    let newest = &numbers[..numbers.len().min(GIVEN_UP)];
    create_durably(disk, &path, |file| file.write_all_at(newest.concat().as_bytes(), 0))
        .map_err(Error::io(&path, "cannot write the file"))?;
    remove(layout, &layout.remote_owner())
}

/// Undoes [`give_up`]: the objects have this number.
///
/// Durable: when this returns.
pub(crate) fn take_back(layout: &Layout, number: &str) -> Result<()> {
    let (disk, path) = (layout.disk(), layout.remote_owner());
    create_durably(disk, &path, |file| file.write_all_at(number.as_bytes(), 0))
        .map_err(Error::io(&path, "cannot write the file"))?;
    remove(layout, &layout.remote_owner_given_up())
}

fn remove(layout: &Layout, path: &Path) -> Result<()> {
    match layout.disk().remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io(path, "cannot remove the file")(error))
        }
        _ => sync_dir(layout.disk(), layout.root()),
    }
}

/// The number that this data directory has, and those that it gave up; the newest first, each once.
fn all_numbers(layout: &Layout) -> Result<Vec<String>> {
    let mut numbers = Vec::new();
    for path in [layout.remote_owner(), layout.remote_owner_given_up()] {
        for number in read_numbers(layout, &path)? {
            if !numbers.contains(&number) {
                numbers.push(number);
            }
        }
    }
    Ok(numbers)
}

/// The number of this data directory, made once.
///
/// Durable: when this returns.
fn own_number(layout: &Layout) -> Result<String> {
    let (disk, path) = (layout.disk(), layout.remote_owner());
    if let Some(number) = read_numbers(layout, &path)?.pop() {
        return Ok(number);
    }
    let number = Uuid::now_v7().simple().to_string();
    create_durably(disk, &path, |file| file.write_all_at(number.as_bytes(), 0))
        .map_err(Error::io(&path, "cannot write the file"))?;
    Ok(number)
}

/// Empty if there is no such file, or one that was not written so.
fn read_numbers(layout: &Layout, path: &Path) -> Result<Vec<String>> {
    let (disk, io) = (layout.disk(), |doing| Error::io(path, doing));
    let length = disk.file_len(path).map_or(0, |length| length as usize);
    if length == 0 || length > GIVEN_UP * LENGTH || !length.is_multiple_of(LENGTH) {
        return Ok(Vec::new());
    }
    let file = disk.open(path).map_err(io("cannot open the file"))?;
    let bytes = read_exact_at(file.as_ref(), length, 0).map_err(io("cannot read the file"))?;
    Ok(bytes.chunks(LENGTH).map(|number| String::from_utf8_lossy(number).into_owned()).collect())
}
