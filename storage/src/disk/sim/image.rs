//! [`Image`]: all files and directories of a simulated disk, with what of them is synced.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::{Component, Path};
use std::sync::Arc;

use super::file::FileBytes;
use super::power_cut::{PowerCut, TearMode};
use crate::disk::DirEntry;

/// The number of a file or a directory.
pub(super) type Inode = u64;

const ROOT: Inode = 0;

/// A disk at one moment. Clones share what is equal.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    nodes: BTreeMap<Inode, Node>,
    /// Changes of names that are not synced, in order.
    journal: Vec<NameChange>,
    /// Rises with every change.
    time: u64,
}

#[derive(Clone, Debug)]
enum Node {
    File(Arc<FileBytes>),
    Directory(Arc<Directory>),
}

#[derive(Clone, Debug, Default)]
struct Directory {
    /// What a listing shows.
    cached: Names,
    /// What is there after a power cut, whatever else is.
    durable: Names,
}

type Names = BTreeMap<OsString, Inode>;

/// A name in a directory.
type Place = (Inode, OsString);

/// One step of a directory, or of two: it is kept whole or lost whole.
#[derive(Clone, Debug)]
struct NameChange {
    at: u64,
    removed: Option<Place>,
    added: Option<Place>,
    inode: Inode,
    /// A sync of the directory failed since: no later sync proves anything of this change.
    is_doubtful: bool,
}

impl NameChange {
    fn places(&self) -> impl Iterator<Item = &Place> {
        self.removed.iter().chain(&self.added)
    }

    fn touches(&self, directory: Inode) -> bool {
        self.places().any(|(dir, _)| *dir == directory)
    }
}

impl Default for Image {
    /// An empty disk.
    fn default() -> Self {
        let root = Node::Directory(Arc::default());
        Self { nodes: BTreeMap::from([(ROOT, root)]), journal: Vec::new(), time: 0 }
    }
}

impl Image {
    /// Creates a file, or empties the one that is there.
    pub(super) fn create(&mut self, path: &Path) -> io::Result<Inode> {
        let place = self.place(path)?;
        match self.at(&place) {
            None => Ok(self.add_node(place, Node::File(Arc::default()))),
            Some(inode) => {
                let at = self.tick();
                self.file_mut(inode)?.truncate(at);
                Ok(inode)
            }
        }
    }

    pub(super) fn open(&self, path: &Path) -> io::Result<Inode> {
        let inode = self.find(path)?;
        self.file(inode).map(|_| inode)
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let inode = self.open(from)?;
        let (from, to) = (self.place(from)?, self.place(to)?);
        match self.at(&to) {
            // Two names of one file: POSIX keeps both.
            Some(target) if target == inode => {}
            Some(target) if matches!(self.nodes[&target], Node::Directory(_)) => {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            _ => self.change(Some(from), Some(to), inode),
        }
        Ok(())
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        let inode = self.open(path)?;
        let place = self.place(path)?;
        self.change(Some(place), None, inode);
        Ok(())
    }

    pub(super) fn hard_link(&mut self, existing: &Path, new: &Path) -> io::Result<()> {
        let inode = self.open(existing)?;
        let place = self.free_place(new)?;
        self.change(None, Some(place), inode);
        Ok(())
    }

    pub(super) fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        let place = self.free_place(path)?;
        self.add_node(place, Node::Directory(Arc::default()));
        Ok(())
    }

    pub(super) fn remove_dir(&mut self, path: &Path) -> io::Result<()> {
        let inode = self.find(path)?;
        if !self.directory(inode)?.cached.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        let place = self.place(path)?;
        self.change(Some(place), None, inode);
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let directory = self.find(path)?;
        self.directory(directory)?;
        let mut synced: BTreeSet<Place> = BTreeSet::new();
        // Backwards: a doubtful change of a name is void once a later one of that name is on disk.
        let mut certain = Vec::new();
        let mut kept = Vec::new();
        for change in std::mem::take(&mut self.journal).into_iter().rev() {
            if change.touches(directory) && !change.is_doubtful {
                synced.extend(change.places().cloned());
                certain.push(change);
            } else if !change.is_doubtful || !change.places().any(|place| synced.contains(place)) {
                kept.push(change);
            }
        }
        kept.reverse();
        self.journal = kept;
        for change in certain.into_iter().rev() {
            self.apply(&change, |directory| &mut directory.durable);
        }
        Ok(())
    }

    /// Names that changed in a directory may be kept or lost from here on, whatever is synced later.
    pub(super) fn fail_sync_dir(&mut self, path: &Path) {
        let Ok(directory) = self.find(path) else { return };
        for change in self.journal.iter_mut().filter(|change| change.touches(directory)) {
            change.is_doubtful = true;
        }
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let names = &self.directory(self.find(path)?)?.cached;
        let entry = |(name, inode): (&OsString, &Inode)| DirEntry {
            name: name.clone(),
            is_dir: matches!(self.nodes[inode], Node::Directory(_)),
        };
        Ok(names.iter().map(entry).collect())
    }

    pub(super) fn is_dir(&self, path: &Path) -> bool {
        self.find(path).is_ok_and(|inode| matches!(self.nodes[&inode], Node::Directory(_)))
    }

    pub(super) fn file(&self, inode: Inode) -> io::Result<&FileBytes> {
        match self.nodes.get(&inode) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Directory(_)) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn file_mut(&mut self, inode: Inode) -> io::Result<&mut FileBytes> {
        match self.nodes.get_mut(&inode) {
            Some(Node::File(file)) => Ok(Arc::make_mut(file)),
            Some(Node::Directory(_)) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn write(&mut self, inode: Inode, bytes: &[u8], offset: usize) -> io::Result<()> {
        let at = self.tick();
        self.file_mut(inode)?.write(bytes, offset, at);
        Ok(())
    }

    /// Units: bytes of files that have a name.
    pub(super) fn used_bytes(&self) -> u64 {
        let named: BTreeSet<Inode> =
            self.directories().flat_map(|directory| directory.cached.values().copied()).collect();
        named.iter().filter_map(|inode| self.file(*inode).ok()).map(|file| file.len() as u64).sum()
    }

    /// The disk as it is once the power is back. The same seed gives the same disk.
    pub(crate) fn after_power_cut(&self, mode: TearMode, seed: u64) -> Self {
        let of_files = self.nodes.values().filter_map(|node| match node {
            Node::File(file) => Some(file.pending_times()),
            Node::Directory(_) => None,
        });
        let pending: BTreeSet<u64> =
            of_files.flatten().chain(self.journal.iter().map(|change| change.at)).collect();
        let pending: Vec<_> = pending.into_iter().collect();
        let cut = &mut PowerCut::new(mode, seed, &pending);
        let mut after = Self { journal: Vec::new(), ..self.clone() };
        let mut lost: BTreeSet<&Place> = BTreeSet::new();
        for change in &self.journal {
            // A name does not skip a change: without this one it cannot have the next.
            if change.places().any(|place| lost.contains(place)) || !cut.keeps(change.at) {
                lost.extend(change.places());
            } else {
                after.apply(change, |directory| &mut directory.durable);
            }
        }
        for node in after.nodes.values_mut() {
            match node {
                Node::File(file) => *file = Arc::new(file.after(cut)),
                Node::Directory(directory) => {
                    let durable = directory.durable.clone();
                    *directory = Arc::new(Directory { cached: durable.clone(), durable });
                }
            }
        }
        after.drop_unreachable();
        after
    }

    fn drop_unreachable(&mut self) {
        let mut reached = BTreeSet::from([ROOT]);
        let mut waiting = vec![ROOT];
        while let Some(inode) = waiting.pop() {
            if let Some(Node::Directory(directory)) = self.nodes.get(&inode) {
                waiting.extend(directory.cached.values().copied().filter(|inode| reached.insert(*inode)));
            }
        }
        self.nodes.retain(|inode, _| reached.contains(inode));
    }

    fn tick(&mut self) -> u64 {
        self.time += 1;
        self.time
    }

    fn add_node(&mut self, place: Place, node: Node) -> Inode {
        let inode = self.nodes.keys().next_back().copied().unwrap_or(ROOT) + 1;
        self.nodes.insert(inode, node);
        self.change(None, Some(place), inode);
        inode
    }

    fn change(&mut self, removed: Option<Place>, added: Option<Place>, inode: Inode) {
        let change = NameChange { at: self.tick(), removed, added, inode, is_doubtful: false };
        self.apply(&change, |directory| &mut directory.cached);
        self.journal.push(change);
    }

    fn apply(&mut self, change: &NameChange, names: impl Fn(&mut Directory) -> &mut Names) {
        let mut names_of = |directory: &Inode, with: &mut dyn FnMut(&mut Names)| {
            if let Some(Node::Directory(directory)) = self.nodes.get_mut(directory) {
                with(names(Arc::make_mut(directory)));
            }
        };
        if let Some((directory, name)) = &change.removed {
            names_of(directory, &mut |names| {
                if names.get(name) == Some(&change.inode) {
                    names.remove(name);
                }
            });
        }
        if let Some((directory, name)) = &change.added {
            names_of(directory, &mut |names| {
                names.insert(name.clone(), change.inode);
            });
        }
    }

    fn directories(&self) -> impl Iterator<Item = &Directory> {
        self.nodes.values().filter_map(|node| match node {
            Node::Directory(directory) => Some(directory.as_ref()),
            Node::File(_) => None,
        })
    }

    fn directory(&self, inode: Inode) -> io::Result<&Directory> {
        match self.nodes.get(&inode) {
            Some(Node::Directory(directory)) => Ok(directory),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// `path` is relative to the root of the disk.
    fn find(&self, path: &Path) -> io::Result<Inode> {
        path.components().try_fold(ROOT, |inode, component| match component {
            Component::Normal(name) => {
                self.directory(inode)?.cached.get(name).copied().ok_or(io::ErrorKind::NotFound.into())
            }
            _ => Err(io::ErrorKind::InvalidInput.into()),
        })
    }

    fn place(&self, path: &Path) -> io::Result<Place> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let directory = self.find(path.parent().unwrap_or(Path::new("")))?;
        self.directory(directory)?;
        Ok((directory, name.to_owned()))
    }

    fn at(&self, (directory, name): &Place) -> Option<Inode> {
        self.directory(*directory).ok()?.cached.get(name).copied()
    }

    fn free_place(&self, path: &Path) -> io::Result<Place> {
        let place = self.place(path)?;
        if self.at(&place).is_some() { Err(io::ErrorKind::AlreadyExists.into()) } else { Ok(place) }
    }
}
