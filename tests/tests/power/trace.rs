//! What a process did to a directory, from the record of its system calls.
//!
//! The record is `strace`'s, with every string in hexadecimal, so that nothing in it needs to be
//! quoted. A call that could change the directory and is not understood here is an error: the rig must
//! not overlook a write.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

/// The calls that are recorded: all that can change a file or a directory, or move an offset.
const CALLS: &str = "openat,openat2,open,creat,lseek,read,readv,write,pwrite64,writev,pwritev,pwritev2,\
    ftruncate,truncate,fallocate,fsync,fdatasync,sync_file_range,msync,mmap,copy_file_range,sendfile,\
    splice,rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,link,linkat,symlink,symlinkat,\
    io_uring_setup,io_uring_enter,io_submit";

/// One thing that happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// The process said something on its side channel.
    Said(String),
    /// A directory was made.
    MakeDir(PathBuf),
    /// A file was opened that is made if it is missing.
    Create(PathBuf),
    /// A file has this length now.
    Resize(PathBuf, u64),
    /// Bytes were written at an offset.
    Write(PathBuf, u64, Vec<u8>),
    /// A file or a directory has another name, in the same directory.
    Rename(PathBuf, PathBuf),
    /// A file, or an empty directory, has no name any more.
    Unlink(PathBuf),
    /// A file or a directory was synced.
    Sync(Sync),
}

/// One sync that succeeded.
#[derive(Debug)]
pub(crate) struct Sync {
    /// Of what.
    pub(crate) path: PathBuf,
    /// Whether it was fdatasync.
    pub(crate) data_only: bool,
    /// How many events had ended when it began: it promises nothing about later ones.
    pub(crate) covers: usize,
}

/// The words that record a command into `record`.
pub(crate) fn recorder(record: &Path) -> Vec<OsString> {
    let words = ["strace", "-f", "-y", "-xx", "-s", "16777216", "-o"];
    let mut all: Vec<OsString> = words.map(OsString::from).into();
    all.extend([record.into(), "-e".into(), format!("trace={CALLS}").into()]);
    all
}

/// Reads what happened to the things below `root`, and what was said to the file `said`.
///
/// # Errors
/// If the record has something that is not understood.
pub(crate) fn read(record: &Path, root: &Path, said: &Path) -> Result<Vec<Event>> {
    let file = File::open(record).with_context(|| record.display().to_string())?;
    let mut reader = Reader {
        root: root.to_owned(),
        said: said.to_owned(),
        events: Vec::new(),
        unfinished: HashMap::new(),
        offsets: HashMap::new(),
    };
    for (number, line) in (1..).zip(BufReader::new(file).lines()) {
        let line = line?;
        let shown = || line.chars().take(300).collect::<String>();
        reader
            .line(&line)
            .with_context(|| format!("line {number} of the record: {}", shown()))?;
    }
    Ok(reader.events)
}

struct Reader {
    root: PathBuf,
    said: PathBuf,
    events: Vec<Event>,
    /// By thread: the beginning of a call that others have interrupted, and how many events there were.
    unfinished: HashMap<String, (String, usize)>,
    /// Where the next write of a descriptor goes.
    offsets: HashMap<u64, u64>,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<()> {
        let (thread, rest) = line.split_once(' ').context("no thread")?;
        let rest = rest.trim_start();
        if rest.starts_with("+++") || rest.starts_with("---") {
            return Ok(());
        }
        if let Some(begun) = rest.strip_suffix(" <unfinished ...>") {
            let begun = (begun.to_owned(), self.events.len());
            self.unfinished.insert(thread.to_owned(), begun);
            return Ok(());
        }
        let Some(resumed) = rest.strip_prefix("<... ") else {
            return self.call(rest, self.events.len());
        };
        let (_, end) = resumed.split_once(" resumed>").context("no end")?;
        let begun = self.unfinished.remove(thread);
        let (begin, events) = begun.context("resumed, and never begun")?;
        self.call(&(begin + end), events)
    }

    /// A whole call, which began when there were so many events.
    fn call(&mut self, text: &str, covers: usize) -> Result<()> {
        let (call, result) = text.rsplit_once(" = ").context("no result")?;
        let call = call.trim_end().strip_suffix(')').context("no end")?;
        let (name, arguments) = call.split_once('(').context("no arguments")?;
        if result.starts_with('-') || result.starts_with('?') {
            return Ok(());
        }
        let arguments = Arguments::read(arguments)?;
        match name {
            "openat" => self.openat(&arguments, result),
            "unlinkat" => self.unlinkat(&arguments),
            "mkdir" | "unlink" | "rename" | "rmdir" => self.named(name, &arguments),
            _ => {
                let Some(descriptor) = Descriptor::read(arguments.word(0)?)? else {
                    return self.refuse_if_ours(name, &arguments);
                };
                self.on_descriptor(name, &descriptor, &arguments, result, covers)
            }
        }
    }

    fn is_ours(&self, path: &Path) -> bool {
        path.starts_with(&self.root) || path == self.said
    }

    /// A call that is not known may do what it likes elsewhere.
    fn refuse_if_ours(&self, name: &str, arguments: &Arguments<'_>) -> Result<()> {
        let mut paths = Vec::new();
        for argument in &arguments.0 {
            paths.push(match argument {
                Argument::Word(word) => Descriptor::read(word)?.map(|one| one.path),
                Argument::Hex(hex) => Some(into_path(unhex(hex)?)),
            });
        }
        let ours = paths.iter().flatten().any(|path| self.is_ours(path));
        ensure!(
            !ours && !name.starts_with("io_"),
            "the rig does not know what {name} does"
        );
        Ok(())
    }

    fn openat(&mut self, arguments: &Arguments<'_>, result: &str) -> Result<()> {
        let opened = Descriptor::read(result)?.context("no descriptor")?;
        self.offsets.insert(opened.number, 0);
        if !self.is_ours(&opened.path) || opened.path == self.said {
            return Ok(());
        }
        let flags: Vec<&str> = arguments.word(2)?.split('|').collect();
        for flag in ["O_APPEND", "O_SYNC", "O_DSYNC", "O_DIRECT", "O_TMPFILE"] {
            ensure!(!flags.contains(&flag), "the rig does not know {flag}");
        }
        if flags.contains(&"O_CREAT") {
            self.events.push(Event::Create(opened.path.clone()));
        }
        if flags.contains(&"O_TRUNC") {
            self.events.push(Event::Resize(opened.path, 0));
        }
        Ok(())
    }

    fn named(&mut self, name: &str, arguments: &Arguments<'_>) -> Result<()> {
        let first = into_path(arguments.bytes(0)?);
        ensure!(first.is_absolute(), "a relative path");
        if !self.is_ours(&first) {
            return Ok(());
        }
        self.events.push(match name {
            "mkdir" => Event::MakeDir(first),
            "unlink" | "rmdir" => Event::Unlink(first),
            "rename" => Event::Rename(first, into_path(arguments.bytes(1)?)),
            _ => bail!("the rig does not know {name}"),
        });
        Ok(())
    }

    /// Of a file or, below a directory that is deleted as a whole, of a directory.
    fn unlinkat(&mut self, arguments: &Arguments<'_>) -> Result<()> {
        let mut path = into_path(arguments.bytes(1)?);
        if let Some(directory) = Descriptor::read(arguments.word(0)?)? {
            path = directory.path.join(path);
        }
        ensure!(path.is_absolute(), "a relative path");
        if self.is_ours(&path) {
            self.events.push(Event::Unlink(path));
        }
        Ok(())
    }

    fn on_descriptor(
        &mut self,
        name: &str,
        descriptor: &Descriptor,
        arguments: &Arguments<'_>,
        result: &str,
        covers: usize,
    ) -> Result<()> {
        let Descriptor { number, path, .. } = descriptor;
        if !self.is_ours(path) {
            return Ok(());
        }
        let done = || -> Result<u64> { Ok(result.split(' ').next().unwrap_or(result).parse()?) };
        match name {
            "read" => *self.offsets.entry(*number).or_default() += done()?,
            "lseek" => drop(self.offsets.insert(*number, done()?)),
            "write" => {
                let at = self.offsets.entry(*number).or_default();
                let here = *at;
                *at += done()?;
                self.wrote(descriptor, here, arguments.bytes(1)?, done()?)?;
            }
            "pwrite64" => {
                let at = arguments.word(3)?.parse()?;
                self.wrote(descriptor, at, arguments.bytes(1)?, done()?)?;
            }
            "ftruncate" if !descriptor.is_deleted => {
                let length = arguments.word(1)?.parse()?;
                self.events.push(Event::Resize(path.clone(), length));
            }
            "fsync" | "fdatasync" if !descriptor.is_deleted => {
                self.events.push(Event::Sync(Sync {
                    path: path.clone(),
                    data_only: name == "fdatasync",
                    covers,
                }))
            }
            // It starts the writing of pages, and waits for nothing that counts.
            "sync_file_range" | "ftruncate" | "fsync" | "fdatasync" => {}
            _ => bail!("the rig does not know what {name} does"),
        }
        Ok(())
    }

    fn wrote(&mut self, file: &Descriptor, at: u64, mut bytes: Vec<u8>, count: u64) -> Result<()> {
        ensure!(bytes.len() as u64 >= count, "the record is cut");
        bytes.truncate(count as usize);
        if file.path == self.said {
            let said = String::from_utf8(bytes)?;
            self.events.push(Event::Said(said));
        } else if !file.is_deleted {
            self.events.push(Event::Write(file.path.clone(), at, bytes));
        }
        Ok(())
    }
}

/// The arguments of a call.
struct Arguments<'a>(Vec<Argument<'a>>);

enum Argument<'a> {
    /// As it stands in the record.
    Word(&'a str),
    /// A string: `\x61\x62`.
    Hex(&'a str),
}

impl<'a> Arguments<'a> {
    fn read(text: &'a str) -> Result<Self> {
        let mut all = Vec::new();
        // In hexadecimal no quote is within a string.
        for (number, piece) in text.split('"').enumerate() {
            if number % 2 == 1 {
                all.push(Argument::Hex(piece));
                continue;
            }
            ensure!(!piece.starts_with("..."), "the record is cut");
            let words = piece.split(", ").filter(|word| !word.is_empty());
            all.extend(words.map(Argument::Word));
        }
        Ok(Self(all))
    }

    fn word(&self, at: usize) -> Result<&'a str> {
        match self.0.get(at) {
            Some(Argument::Word(word)) => Ok(word),
            Some(Argument::Hex(_)) => Ok(""),
            None => bail!("too few arguments"),
        }
    }

    fn bytes(&self, at: usize) -> Result<Vec<u8>> {
        match self.0.get(at) {
            Some(Argument::Hex(hex)) => unhex(hex),
            _ => bail!("no string"),
        }
    }
}

/// An open descriptor, as `7</path>`.
struct Descriptor {
    number: u64,
    path: PathBuf,
    /// Nobody finds that file any more, whatever happens to it.
    is_deleted: bool,
}

impl Descriptor {
    fn read(text: &str) -> Result<Option<Self>> {
        let Some((number, rest)) = text.split_once('<') else {
            return Ok(None);
        };
        let Ok(number) = number.parse() else {
            return Ok(None);
        };
        // A socket, a pipe: nothing with a path.
        if !rest.starts_with("\\x") {
            return Ok(None);
        }
        let (hex, end) = rest.split_once('>').context("a descriptor without end")?;
        Ok(Some(Self {
            number,
            path: into_path(unhex(hex)?),
            is_deleted: end.starts_with("(deleted)"),
        }))
    }
}

fn into_path(bytes: Vec<u8>) -> PathBuf {
    OsString::from_vec(bytes).into()
}

/// The bytes of `\x61\x62`.
fn unhex(text: &str) -> Result<Vec<u8>> {
    const NONE: u8 = 0xff;
    const DIGITS: [u8; 256] = {
        let mut digits = [NONE; 256];
        let mut value = 0;
        while value < 16 {
            digits[b"0123456789abcdef"[value] as usize] = value as u8;
            value += 1;
        }
        digits
    };
    let text = text.as_bytes();
    ensure!(text.len().is_multiple_of(4), "not in hexadecimal");
    let mut bytes = vec![0; text.len() / 4];
    let mut wrong = false;
    // A table, and few calls: this is not optimised, and a store writes a hundred megabytes.
    for (at, byte) in bytes.iter_mut().enumerate() {
        let from = at * 4;
        let high = DIGITS[text[from + 2] as usize];
        let low = DIGITS[text[from + 3] as usize];
        wrong |= high == NONE || low == NONE;
        *byte = high << 4 | (low & 0xf);
    }
    ensure!(!wrong, "not in hexadecimal");
    Ok(bytes)
}

#[cfg(test)]
mod tests;
