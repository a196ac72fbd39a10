//! What a power cut leaves of the changes that were not synced.

use podwalk_tests::dice::Dice;

/// One way of being lucky.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing is left.
    Nothing,
    /// Everything is left.
    Everything,
    /// The first sector of the first change.
    First,
    /// The last sector of the last change.
    Last,
    /// The first changes, and half of the one after them.
    Torn,
    /// So many sectors of a hundred.
    Sectors(u64),
    /// Half of the changes, each of them whole.
    Changes,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 9] = [
        Self::Nothing,
        Self::Everything,
        Self::First,
        Self::Last,
        Self::Torn,
        Self::Sectors(50),
        Self::Sectors(5),
        Self::Sectors(95),
        Self::Changes,
    ];
}

/// A kind of luck, and the dice that it is drawn with.
#[derive(Debug)]
pub(crate) struct Luck {
    kind: Kind,
    dice: Dice,
}

/// The fate of one file's sectors.
#[derive(Debug)]
pub(crate) struct Lot<'a> {
    luck: &'a mut Luck,
    changes: usize,
    /// The change that is torn, and those that are whole, where the kind has such.
    torn: usize,
    whole: Vec<bool>,
}

impl Luck {
    /// Luck of a kind.
    pub(crate) fn new(kind: Kind, dice: Dice) -> Self {
        Self { kind, dice }
    }

    /// Which of so many changes of a directory are left.
    pub(crate) fn changes(&mut self, count: usize) -> Vec<bool> {
        let torn = self.dice.index(count + 1);
        let mut survives = |number: usize| match self.kind {
            Kind::Nothing => false,
            Kind::Everything => true,
            Kind::First => number == 0,
            Kind::Last => number + 1 == count,
            Kind::Torn => number < torn,
            Kind::Sectors(percent) => self.dice.percent(percent),
            Kind::Changes => self.dice.percent(50),
        };
        (0..count).map(&mut survives).collect()
    }

    /// After how many of so many changes of a file its length is the one that is left.
    pub(crate) fn versions(&mut self, count: usize) -> usize {
        match self.kind {
            Kind::Nothing => 0,
            Kind::Everything | Kind::Last => count,
            Kind::First => count.min(1),
            _ => self.dice.index(count + 1),
        }
    }

    /// The lot of the sectors of a file with so many changes.
    pub(crate) fn sectors(&mut self, changes: usize) -> Lot<'_> {
        let torn = self.dice.index(changes + 1);
        let whole = match self.kind {
            Kind::Changes => (0..changes).map(|_| self.dice.percent(50)).collect(),
            _ => Vec::new(),
        };
        Lot {
            luck: self,
            changes,
            torn,
            whole,
        }
    }
}

impl Lot<'_> {
    /// Whether a sector is left, the `place`-th of `count` of a change.
    pub(crate) fn survives(&mut self, change: usize, place: usize, count: usize) -> bool {
        match self.luck.kind {
            Kind::Nothing => false,
            Kind::Everything => true,
            Kind::First => change == 0 && place == 0,
            Kind::Last => change + 1 == self.changes && place + 1 == count,
            Kind::Torn => change < self.torn || (change == self.torn && place < count.div_ceil(2)),
            Kind::Sectors(percent) => self.luck.dice.percent(percent),
            Kind::Changes => self.whole[change],
        }
    }
}
