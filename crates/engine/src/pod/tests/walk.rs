//! Walks as the drive loop makes them, with every end that an effect can have.

use super::*;

/// What the world answers, drawn for each turn.
#[derive(Debug, Clone, Copy)]
enum Luck {
    Well,
    Ill,
    Crash,
    Reboot,
    Stop,
    Remove,
    Die,
}

fn luck() -> impl Strategy<Value = Vec<Luck>> {
    let one = prop_oneof![
        8 => Just(Luck::Well),
        3 => Just(Luck::Ill),
        2 => Just(Luck::Crash),
        1 => Just(Luck::Reboot),
        1 => Just(Luck::Stop),
        1 => Just(Luck::Remove),
        1 => Just(Luck::Die),
    ];
    prop::collection::vec(one, 0..60)
}

struct Walk {
    pod: Pod,
    facts: Facts,
    boot: u8,
    seconds: u64,
    consumes_network: bool,
    late: u32,
}

impl Walk {
    fn write(&mut self, record: Record) {
        self.seconds += 1;
        let entry = Entry {
            pod: self.pod.id,
            sequence: self.pod.next_sequence,
            stamp: at(self.boot, self.seconds),
            record,
        };
        self.facts.now = entry.stamp;
        self.pod
            .apply(&entry)
            .unwrap_or_else(|error| panic!("{error}: {:?} on {:?}", entry.record, self.pod));
    }

    fn intent(&self, step: Step) -> Record {
        let mut intent = intent(step, &self.pod.spec.network);
        if let crate::record::Intent::Start(start) = &mut intent {
            start.consumes_network = self.consumes_network;
        }
        Record::Intent(intent)
    }

    fn done(&self, step: Step) -> Record {
        Record::Done(output_late(step, 2, self.late))
    }

    /// One turn; false when the walk rests or is over.
    fn turn(&mut self, luck: Luck) -> bool {
        match luck {
            Luck::Stop => self.write(goal(Goal::Stop)),
            Luck::Remove => self.write(goal(Goal::Remove)),
            Luck::Reboot => self.reboot(),
            Luck::Die if self.pod.has_sandbox() && self.pod.goal == Goal::Run => {
                self.write(Record::Observed(Observation::Exited { code: None }));
            }
            Luck::Die => {}
            Luck::Crash => (self.facts.inherited, self.facts.found) = (true, None),
            Luck::Well | Luck::Ill => return self.act(matches!(luck, Luck::Well)),
        }
        true
    }

    fn reboot(&mut self) {
        let from = self.pod.last.boot;
        self.boot += 1;
        self.write(Record::Observed(Observation::Rebooted {
            from,
            last_record_ns: 0,
            cni_may_be_back: self.pod.released.is_some() && !self.pod.plan.is_empty(),
        }));
        (self.facts.inherited, self.facts.found) = (true, None);
    }

    fn act(&mut self, well: bool) -> bool {
        match decide(&self.pod, &self.facts) {
            Next::Rest | Next::Forget => return false,
            Next::Look(step) => {
                let found = match (well, self.pod.status(step)) {
                    (true, Status::Done) => Probe::Complete(()),
                    (true, _) => Probe::Absent,
                    (false, _) => Probe::Partial,
                };
                self.facts.found = Some((step, found));
            }
            Next::Adopt(step) => self.write(self.done(step)),
            Next::NoteExit => self.write(Record::Observed(Observation::Exited { code: None })),
            Next::Climb(step, _) => self.climb(step, well),
            Next::Restart => self.write(Record::Observed(Observation::Restart)),
            Next::TurnDown(cause) => self.write(Record::Goal {
                goal: Goal::Remove,
                cause,
            }),
            Next::Descend(step) => self.descend(step, well),
            Next::Owe { wait, .. } => {
                self.seconds += wait.as_secs() + 1;
                self.facts.now = at(self.boot, self.seconds);
            }
            Next::Outlive(goal) => self.write(Record::Observed(Observation::Outlived { goal })),
        }
        true
    }

    fn climb(&mut self, step: Step, well: bool) {
        assert_eq!(
            self.pod.goal,
            Goal::Run,
            "it climbs after it was turned down"
        );
        // ADD is never repeated without a DEL.
        if step == Step::ConfigureCni {
            assert!(self.pod.attachments.is_empty(), "ADD without a DEL before");
        }
        if step == Step::AttachLate {
            assert!(self.pod.has_sandbox(), "attached late to no sandbox");
            assert_eq!(
                self.pod.status(step),
                Status::Never,
                "ADD without a DEL before"
            );
        }
        self.write(self.intent(step));
        match well {
            true => {
                self.write(self.done(step));
                self.facts.found = Some((step, Probe::Complete(())));
            }
            false => self.write(failed(step, Direction::Up, None)),
        }
    }

    fn descend(&mut self, step: Step, well: bool) {
        // A sandbox does not live on because a late network is owed.
        let owed_beside_it = step == Step::Start && !self.pod.debts.is_empty();
        let top = if owed_beside_it {
            Step::Start
        } else {
            Step::AttachLate
        };
        let above = Step::ALL
            .iter()
            .filter(|above| **above > step && **above <= top);
        for above in above {
            assert_eq!(
                self.pod.status(*above),
                Status::Never,
                "undone out of order"
            );
        }
        self.facts.found = None;
        for attachment in self.pod.unreleased(step) {
            let record = match well || (attachment > 0 && step == Step::ConfigureCni) {
                true => undone(step, Some(attachment)),
                false => failed(step, Direction::Down, Some(attachment)),
            };
            self.write(record);
        }
        match well {
            true => self.write(undone(step, None)),
            false if self.pod.unreleased(step).is_empty() => {
                self.write(failed(step, Direction::Down, None));
            }
            false => {}
        }
    }
}

fn walk(consumes_network: bool, late: bool, luck: &[Luck]) -> Walk {
    let pod = Story::new(NetworkMode::Cni, 2).pod();
    let facts = Facts {
        now: pod.last,
        policy: Policy::default(),
        found: None,
        in_vain: std::time::Duration::ZERO,
        inherited: false,
        urgent: false,
        hold: Step::AttachLate,
        closing: false,
    };
    let mut walk = Walk {
        pod,
        facts,
        boot: 1,
        seconds: 200,
        consumes_network,
        late: late.into(),
    };
    for luck in luck {
        walk.turn(*luck);
    }
    walk
}

proptest! {
    /// Any luck, then good luck: the pod ends as asked, and every record on
    /// the way could follow the one before.
    #[test]
    fn every_walk_ends_as_asked_once_the_luck_is_good(
        luck in luck(),
        consumes in any::<bool>(),
        late in any::<bool>(),
    ) {
        let mut walk = walk(consumes, late, &luck);
        let mut turns = 0;
        while walk.turn(Luck::Well) {
            turns += 1;
            prop_assert!(turns < 200, "it never ends: {:?}", walk.pod);
        }
        prop_assert_eq!(&walk.pod.debts, &[]);
        match walk.pod.goal {
            Goal::Run => {
                let whole = walk.pod.is_attached();
                prop_assert!(whole && (walk.pod.is_started() || walk.pod.exited.is_some()));
            }
            Goal::Stop => prop_assert!(walk.pod.is_down()),
            Goal::Remove => prop_assert!(walk.pod.is_undone()),
        }
    }

    /// Bad luck only: whatever stays undone is in the ledger.
    #[test]
    fn every_walk_ends_or_owes_while_the_luck_is_bad(luck in luck(), late in any::<bool>()) {
        let mut walk = walk(false, late, &luck);
        walk.write(goal(Goal::Remove));
        for _ in 0..50 {
            walk.turn(Luck::Ill);
        }
        prop_assert!(walk.pod.is_undone() || !walk.pod.debts.is_empty());
    }

    /// A walk is begun anew a bounded number of times.
    #[test]
    fn nothing_is_begun_more_often_than_the_policy_allows(
        luck in luck(),
        consumes in any::<bool>(),
        late in any::<bool>(),
    ) {
        let walk = walk(consumes, late, &luck);
        for step in Step::ALL {
            prop_assert!(walk.pod.slot(step).climbs <= walk.facts.policy.attempts);
        }
    }
}

/// Rule 7: a Stop keeps the file, and pays for it all the same when the start
/// had begun to undo its first step and owes that.
#[test]
fn a_stop_pays_what_a_start_owes_of_its_first_step() {
    let mut walk = walk(false, false, &[Luck::Ill, Luck::Ill, Luck::Stop]);
    assert_eq!(walk.pod.debts[0].step, Step::Create);
    while walk.turn(Luck::Well) {}
    assert_eq!(walk.pod.debts, []);
    assert!(walk.pod.is_undone());
}
