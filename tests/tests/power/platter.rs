//! A disk that loses what was not synced.
//!
//! What a sync covered is on the platter. Of everything later any part may be: of each sector any
//! version that it has had since, a file's length and a directory's entries as they were after any
//! number of changes. That is more than file systems do to their users, journalling ones above all:
//! what survives here survives there.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};

use crate::luck::Luck;
use crate::trace::{Event, Sync};

/// What is written whole or not at all, bytes.
const SECTOR: u64 = 512;
/// Zeros of this length are not written into an image.
const HOLE: usize = 64 << 10;

/// The disk at one moment.
#[derive(Debug, Default, Clone)]
pub(crate) struct Platter {
    /// The path of the first of the directories.
    root: PathBuf,
    directories: Vec<Directory>,
    files: Vec<Inode>,
    /// How many events there were.
    events: usize,
    /// It answers fdatasync, and does nothing: a disk that lies.
    ignores_fdatasync: bool,
}

/// What a name leads to, by its place in the disk's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    File(usize),
    Directory(usize),
}

#[derive(Debug, Default, Clone)]
struct Directory {
    /// As processes see it.
    seen: BTreeMap<OsString, Node>,
    durable: BTreeMap<OsString, Node>,
    pending: Vec<(usize, Entry)>,
}

/// One change of a directory, atomic.
#[derive(Debug, Clone)]
enum Entry {
    Put(OsString, Node),
    Take(OsString),
    Move(OsString, OsString, Node),
}

#[derive(Debug, Default, Clone)]
struct Inode {
    durable: Vec<u8>,
    pending: Vec<(usize, Change)>,
}

/// One change of a file.
#[derive(Debug, Clone)]
enum Change {
    Write(u64, Arc<[u8]>),
    Resize(u64),
}

impl Platter {
    /// A disk with this tree on it, all of it synced.
    ///
    /// # Errors
    /// If the tree cannot be read.
    pub(crate) fn holding(tree: &Path) -> Result<Self> {
        let mut platter = Self {
            root: tree.to_owned(),
            ..Self::default()
        };
        platter.hold(tree)?;
        Ok(platter)
    }

    fn hold(&mut self, tree: &Path) -> Result<Node> {
        let number = self.directories.len();
        self.directories.push(Directory::default());
        for entry in fs::read_dir(tree)? {
            let entry = entry?;
            let node = if entry.file_type()?.is_dir() {
                self.hold(&entry.path())?
            } else {
                self.files.push(Inode {
                    durable: fs::read(entry.path())?,
                    pending: Vec::new(),
                });
                Node::File(self.files.len() - 1)
            };
            let directory = &mut self.directories[number];
            directory.seen.insert(entry.file_name(), node);
            directory.durable.insert(entry.file_name(), node);
        }
        Ok(Node::Directory(number))
    }

    /// The same disk, and from now on it answers fdatasync without doing it.
    pub(crate) fn lying(self) -> Self {
        Self {
            ignores_fdatasync: true,
            ..self
        }
    }

    /// The next thing happens.
    ///
    /// # Errors
    /// If it cannot have happened: the record or the rig is wrong.
    pub(crate) fn take(&mut self, event: &Event) -> Result<()> {
        let number = self.events;
        self.events += 1;
        match event {
            Event::Said(_) => {}
            Event::MakeDir(path) => {
                let fresh = Node::Directory(self.directories.len());
                self.directories.push(Directory::default());
                let (directory, name) = self.directory_of(path)?;
                directory.change(number, Entry::Put(name, fresh));
            }
            Event::Create(path) => self.create(number, path)?,
            Event::Resize(path, length) => {
                let change = Change::Resize(*length);
                self.file(path)?.pending.push((number, change));
            }
            Event::Write(path, at, bytes) => {
                let change = Change::Write(*at, bytes.as_slice().into());
                self.file(path)?.pending.push((number, change));
            }
            Event::Rename(from, to) => {
                ensure!(from.parent() == to.parent(), "to another directory");
                let (directory, from) = self.directory_of(from)?;
                let node = *directory.seen.get(&from).context("no such file")?;
                let to = to.file_name().context("no name")?.to_owned();
                directory.change(number, Entry::Move(from, to, node));
            }
            Event::Unlink(path) => {
                let (directory, name) = self.directory_of(path)?;
                directory.change(number, Entry::Take(name));
            }
            Event::Sync(sync) => self.sync(sync)?,
        }
        Ok(())
    }

    fn create(&mut self, number: usize, path: &Path) -> Result<()> {
        let fresh = Node::File(self.files.len());
        let (directory, name) = self.directory_of(path)?;
        if !directory.seen.contains_key(&name) {
            directory.change(number, Entry::Put(name, fresh));
            self.files.push(Inode::default());
        }
        Ok(())
    }

    /// What a process finds at a path.
    fn find(&self, path: &Path) -> Result<Node> {
        let mut node = Node::Directory(0);
        for name in path.strip_prefix(&self.root)? {
            let Node::Directory(number) = node else {
                bail!("{} leads through a file", path.display());
            };
            let next = self.directories[number].seen.get(name);
            node = *next.with_context(|| format!("nothing is at {}", path.display()))?;
        }
        Ok(node)
    }

    fn directory_of(&mut self, path: &Path) -> Result<(&mut Directory, OsString)> {
        let parent = path.parent().context("no parent")?;
        let name = path.file_name().context("no name")?.to_owned();
        match self.find(parent)? {
            Node::Directory(number) => Ok((&mut self.directories[number], name)),
            Node::File(_) => bail!("{} is a file", parent.display()),
        }
    }

    fn file(&mut self, path: &Path) -> Result<&mut Inode> {
        match self.find(path)? {
            Node::File(number) => Ok(&mut self.files[number]),
            Node::Directory(_) => bail!("{} is a directory", path.display()),
        }
    }

    fn sync(&mut self, sync: &Sync) -> Result<()> {
        if sync.data_only && self.ignores_fdatasync {
            return Ok(());
        }
        match self.find(&sync.path)? {
            Node::Directory(number) => self.directories[number].sync(sync.covers),
            Node::File(number) => self.files[number].sync(sync.covers),
        }
        Ok(())
    }

    /// Pulls the plug: makes what is left in the directory `image`, which must not exist.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn cut(&self, image: &Path, luck: &mut Luck) -> Result<()> {
        self.leave(&self.directories[0], image, luck)
    }

    fn leave(&self, directory: &Directory, image: &Path, luck: &mut Luck) -> Result<()> {
        fs::create_dir(image).with_context(|| image.display().to_string())?;
        for (name, node) in directory.cut(luck) {
            let path = image.join(name);
            match node {
                Node::Directory(number) => self.leave(&self.directories[number], &path, luck)?,
                Node::File(number) => write_sparsely(&path, &self.files[number].cut(luck))?,
            }
        }
        Ok(())
    }
}

impl Directory {
    fn change(&mut self, number: usize, entry: Entry) {
        entry.apply(&mut self.seen);
        self.pending.push((number, entry));
    }

    fn sync(&mut self, covers: usize) {
        for (_, entry) in self.pending.extract_if(.., |(number, _)| *number < covers) {
            entry.apply(&mut self.durable);
        }
    }

    fn cut(&self, luck: &mut Luck) -> BTreeMap<OsString, Node> {
        let mut left = self.durable.clone();
        let survivors = luck.changes(self.pending.len());
        for ((_, entry), survives) in self.pending.iter().zip(survivors) {
            if survives {
                entry.apply(&mut left);
            }
        }
        left
    }
}

impl Entry {
    fn apply(&self, names: &mut BTreeMap<OsString, Node>) {
        match self {
            Self::Put(name, node) => drop(names.insert(name.clone(), *node)),
            Self::Take(name) => drop(names.remove::<OsStr>(name)),
            Self::Move(from, to, node) => {
                names.remove::<OsStr>(from);
                names.insert(to.clone(), *node);
            }
        }
    }
}

impl Inode {
    fn sync(&mut self, covers: usize) {
        for (_, change) in self.pending.extract_if(.., |(number, _)| *number < covers) {
            match change {
                Change::Write(at, bytes) => overwrite(&mut self.durable, at, &bytes),
                Change::Resize(length) => self.durable.resize(length as usize, 0),
            }
        }
    }

    /// What is left of the file.
    fn cut(&self, luck: &mut Luck) -> Vec<u8> {
        let sizes = luck.versions(self.pending.len());
        let mut left = Left {
            versions: self.versions(luck),
            content: self.durable.clone(),
            length: self.durable.len() as u64,
        };
        for (number, (_, change)) in self.pending.iter().enumerate() {
            let counts = number < sizes;
            match change {
                Change::Write(at, bytes) => left.write(number, *at, bytes, counts),
                Change::Resize(length) if counts => left.resize(*length),
                Change::Resize(_) => {}
            }
        }
        left.content.resize(left.length as usize, 0);
        left.content
    }

    /// By sector: the last change that it has seen. A sector that has seen one has seen all before it:
    /// what is written is the page, not the call.
    fn versions(&self, luck: &mut Luck) -> BTreeMap<u64, usize> {
        let mut versions = BTreeMap::new();
        let mut lot = luck.sectors(self.pending.len());
        for (number, (_, change)) in self.pending.iter().enumerate() {
            let Change::Write(at, bytes) = change else {
                continue;
            };
            let all: Vec<u64> = sectors(*at, bytes.len())
                .map(|(sector, _)| sector)
                .collect();
            let survivors = all
                .iter()
                .enumerate()
                .filter(|(place, _)| lot.survives(number, *place, all.len()));
            versions.extend(survivors.map(|(_, sector)| (*sector, number)));
        }
        versions
    }
}

/// What is left of one file, as its changes go by.
struct Left {
    versions: BTreeMap<u64, usize>,
    content: Vec<u8>,
    length: u64,
}

impl Left {
    /// A write, and whether the file's length has seen it.
    fn write(&mut self, number: usize, at: u64, bytes: &[u8], counts: bool) {
        for (sector, range) in sectors(at, bytes.len()) {
            if self
                .versions
                .get(&sector)
                .is_some_and(|last| *last >= number)
            {
                let (from, until) = ((range.start - at) as usize, (range.end - at) as usize);
                overwrite(&mut self.content, range.start, &bytes[from..until]);
            }
        }
        if counts {
            self.length = self.length.max(at + bytes.len() as u64);
        }
    }

    /// What was beyond is not seen again, whatever the length becomes.
    fn resize(&mut self, length: u64) {
        self.content.truncate(length as usize);
        self.length = length;
    }
}

/// The sectors that a write touches, each with the part of the file that is written of it.
fn sectors(at: u64, length: usize) -> impl Iterator<Item = (u64, std::ops::Range<u64>)> {
    let end = at + length as u64;
    (at / SECTOR..end.div_ceil(SECTOR)).map(move |sector| {
        let from = at.max(sector * SECTOR);
        (sector, from..end.min((sector + 1) * SECTOR))
    })
}

fn overwrite(content: &mut Vec<u8>, at: u64, bytes: &[u8]) {
    let (at, end) = (at as usize, at as usize + bytes.len());
    if content.len() < end {
        content.resize(end, 0);
    }
    content[at..end].copy_from_slice(bytes);
}

fn write_sparsely(path: &Path, content: &[u8]) -> Result<()> {
    static ZEROS: [u8; HOLE] = [0; HOLE];
    let file = File::create(path).with_context(|| path.display().to_string())?;
    file.set_len(content.len() as u64)?;
    for (number, block) in content.chunks(HOLE).enumerate() {
        if *block != ZEROS[..block.len()] {
            file.write_all_at(block, (number * HOLE) as u64)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
