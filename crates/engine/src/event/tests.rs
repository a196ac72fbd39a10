use futures_util::{FutureExt, StreamExt};

use super::*;
use crate::fixture::*;
use crate::record::Record;
use crate::step::{NetworkMode, Step};

fn pod() -> Arc<Pod> {
    Arc::new(Story::new(NetworkMode::Cni, 1).started().pod())
}

/// Tells so many events.
fn tell(events: &Events, times: usize) {
    let pod = pod();
    let stop = Entry {
        pod: pod.id,
        sequence: pod.next_sequence,
        stamp: at(1, 1),
        record: goal(Goal::Stop),
    };
    for _ in 0..times {
        events.tell(std::slice::from_ref(&stop), pod.listing(), &pod);
    }
}

fn cursor(epoch: u64, number: u64) -> Option<Cursor> {
    Some(Cursor { epoch, number })
}

fn numbers(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.cursor.number).collect()
}

#[test]
fn a_cursor_round_trips_and_anything_else_is_refused() {
    let cursor = Cursor {
        epoch: 3,
        number: u64::MAX,
    };
    assert_eq!(cursor.to_string().parse(), Ok(cursor));
    for text in [
        "",
        "3",
        "3-",
        "-3",
        "3-17-1",
        "3 - 17",
        "3-x",
        "3-18446744073709551616",
        "+-+",
    ] {
        assert_eq!(
            text.parse::<Cursor>(),
            Err(NotACursor(text.to_owned())),
            "{text}"
        );
    }
    let long = "9".repeat(5000).parse::<Cursor>().unwrap_err();
    assert!(long.to_string().len() < 200);
}

#[test]
fn a_listener_without_a_cursor_hears_what_comes() {
    let events = Events::new(7, &[], &[]);
    tell(&events, 3);
    let mut heard = events.subscribe(None);
    assert!(heard.backlog.is_empty() && !heard.gap);
    tell(&events, 1);
    let event = heard.live.next().now_or_never().flatten().unwrap();
    assert_eq!(Some(event.cursor), cursor(7, 4));
    assert_eq!((event.what, event.stamp), ("stopping", at(1, 1)));
    assert_eq!(event.pod, pod());
}

#[test]
fn a_listener_with_a_cursor_hears_what_it_has_missed() {
    let events = Events::new(7, &[], &[]);
    tell(&events, 3);
    for (since, missed) in [(0, vec![1, 2, 3]), (1, vec![2, 3]), (3, vec![])] {
        let heard = events.subscribe(cursor(7, since));
        assert_eq!((numbers(&heard.backlog), heard.gap), (missed, false));
    }
}

#[test]
fn a_cursor_of_another_opening_or_never_given_out_is_a_gap() {
    let events = Events::new(7, &[], &[]);
    tell(&events, 3);
    for wrong in [
        cursor(6, 2),
        cursor(8, 2),
        cursor(7, 4),
        cursor(7, u64::MAX),
    ] {
        let heard = events.subscribe(wrong);
        assert!(heard.gap, "{wrong:?}");
        assert_eq!(numbers(&heard.backlog), [1, 2, 3]);
    }
}

#[test]
fn only_so_many_events_are_kept_and_who_comes_later_is_told() {
    let events = Events::new(7, &[], &[]);
    tell(&events, WINDOW + 10);
    let oldest = events.subscribe(cursor(7, 10));
    assert_eq!((oldest.backlog.len(), oldest.gap), (WINDOW, false));
    let older = events.subscribe(cursor(7, 9));
    assert_eq!((older.backlog.len(), older.gap), (WINDOW, true));
}

/// What a listener with a cursor of another opening gets: words, and how far each pod was.
fn recalled(pods: &[Story], graves: &[Story]) -> Vec<(&'static str, String)> {
    let pods: Vec<_> = pods.iter().map(|story| story.entries.clone()).collect();
    let bury = |story: &Story| Obituary { pod: story.pod() };
    let graves: Vec<_> = graves.iter().map(bury).collect();
    let heard = Events::new(7, &pods, &graves).subscribe(cursor(6, 1));
    assert!(heard.gap);
    let expected: Vec<u64> = (1..).take(heard.backlog.len()).collect();
    assert_eq!(numbers(&heard.backlog), expected);
    let told = heard.backlog.iter();
    told.map(|event| (event.what, event.pod.state().to_string()))
        .collect()
}

#[test]
fn earlier_openings_are_told_from_the_journal_in_the_order_of_time() {
    let web = Story::new(NetworkMode::Cni, 1).started();
    let gone = Story::new(NetworkMode::Host, 0)
        .of(pod_id(2))
        .later(3)
        .started();
    let told = recalled(std::slice::from_ref(&web), &[]);
    let walk = [
        ("asked", "Created"),
        ("created", "Created"),
        ("netns-mounted", "NetnsMounted"),
        ("network-ready", "NetworkReady"),
        ("cni-configured", "CniConfigured"),
        ("started", "Started"),
    ];
    let walk = walk.map(|(word, state)| (word, state.to_owned()));
    assert_eq!(told, walk);
    let with_a_grave = recalled(&[web], &[gone]);
    let others: Vec<_> = with_a_grave
        .iter()
        .filter(|event| event.0 != "removed")
        .cloned()
        .collect();
    assert_eq!(others, walk);
    let at = with_a_grave.iter().position(|event| event.0 == "removed");
    assert!(
        at.is_some_and(|at| 0 < at && at < walk.len()),
        "{with_a_grave:?}"
    );
}

#[test]
fn a_clock_that_was_set_back_changes_no_pods_order() {
    let mut story = Story::new(NetworkMode::Cni, 1).started();
    for (number, entry) in (0..).zip(&mut story.entries) {
        entry.stamp.wall_ns -= number * 1_500_000_000;
    }
    let told = recalled(&[story], &[]);
    let words: Vec<_> = told.iter().map(|(word, _)| *word).collect();
    assert_eq!((words[0], words[words.len() - 1]), ("asked", "started"));
    let states: Vec<_> = told.iter().map(|(_, state)| state.clone()).collect();
    assert_eq!(states[states.len() - 2..], ["CniConfigured", "Started"]);
}

#[test]
fn only_the_youngest_of_what_the_journal_tells_are_kept() {
    let pods: Vec<_> = (0..WINDOW as u64 / 4)
        .map(|number| {
            let story = Story::new(NetworkMode::Cni, 1).of(pod_id(1));
            story.later(number).started().entries
        })
        .collect();
    let heard = Events::new(7, &pods, &[]).subscribe(cursor(6, 1));
    assert_eq!(heard.backlog.len(), WINDOW);
    let stamps: Vec<_> = heard
        .backlog
        .iter()
        .map(|event| event.stamp.wall_ns)
        .collect();
    assert!(stamps.is_sorted());
    let youngest = pods.iter().flatten().map(|entry| entry.stamp.wall_ns).max();
    assert_eq!(stamps.last().copied(), youngest);
}

#[test]
fn a_listener_that_falls_too_far_behind_is_let_go_and_holds_nobody_up() {
    let events = Events::new(7, &[], &[]);
    let slow = events.subscribe(None);
    let mut quick = events.subscribe(None);
    let mut heard = 0;
    for _ in 0..2 * BACKLOG {
        tell(&events, 1);
        heard += usize::from(quick.live.next().now_or_never().flatten().is_some());
    }
    assert_eq!(heard, 2 * BACKLOG);
    let left: Vec<_> = slow.live.collect().now_or_never().expect("it has ended");
    assert!((BACKLOG..2 * BACKLOG).contains(&left.len()));
}

#[test]
fn listeners_that_have_gone_are_not_kept_while_nothing_happens() {
    let events = Events::new(7, &[], &[]);
    let mut stays = events.subscribe(None);
    for _ in 0..10 {
        drop(events.subscribe(None));
    }
    assert!(events.stage.lock().unwrap().listeners.len() <= 2);
    tell(&events, 1);
    assert!(stays.live.next().now_or_never().flatten().is_some());
}

/// The word that every record gets.
#[test]
fn every_record_has_its_word_or_is_the_journals_own_business() {
    let step = Step::ConfigureCni;
    let observed = |observation| Record::Observed(observation);
    let records = [
        goal(Goal::Run),
        goal(Goal::Stop),
        goal(Goal::Remove),
        Record::Intent(intent(step, &NetworkMode::Cni)),
        failed(step, Direction::Up, None),
        failed(step, Direction::Down, Some(1)),
        undone(step, Some(1)),
        undone(step, None),
        observed(Observation::Exited { code: Some(137) }),
        observed(Observation::Exited { code: None }),
        observed(Observation::Restart),
        observed(Observation::Rebooted {
            from: boot(1),
            last_record_ns: 0,
            cni_may_be_back: true,
        }),
        observed(Observation::Outlived { goal: Goal::Stop }),
        observed(Observation::Forgiven {
            step,
            attachment: None,
            reason: "gone".to_owned(),
        }),
        Record::Snapshot(Box::new(Pod::clone(&pod()))),
    ];
    let done = Step::ALL.map(|step| Record::Done(output(step, 1)));
    let pod = Story::new(NetworkMode::Cni, 2).started().pod();
    let told = records
        .iter()
        .chain(&done)
        .map(|record| match describe(record, &pod) {
            None => "(nothing)".to_owned(),
            Some((word, detail)) => format!("{word} [{detail}]"),
        });
    insta::assert_snapshot!(told.collect::<Vec<_>>().join("\n"));
}

/// Whoever hears "started" may use all of the pod's networks.
#[test]
fn a_pod_with_late_networks_is_started_when_they_are_attached() {
    let pod = Story::with_late(1).started().pod();
    let word = |step| describe(&Record::Done(output_late(step, 2, 1)), &pod).map(|(word, _)| word);
    assert_eq!(word(Step::Start), Some("sandbox-started"));
    assert_eq!(word(Step::AttachLate), Some("started"));
}

/// Of a batch nobody sees what is between its records, so that its first event tells all of it.
#[test]
fn what_a_batch_changes_in_lists_is_told_once() {
    let failed_start = || {
        let begun = Story::new(NetworkMode::Cni, 2).up_to(Step::ReadyNetwork);
        let begun = begun.begins(Step::ConfigureCni);
        let ended = begun.then(Record::Goal {
            goal: Goal::Remove,
            cause: crate::record::Cause::NotResumed,
        });
        let owes = |at| failed(Step::ConfigureCni, Direction::Down, Some(at));
        ended.then(owes(0)).then(owes(1))
    };
    let before = failed_start();
    let paid = |at| undone(Step::ConfigureCni, Some(at));
    let after = failed_start().then(paid(0)).then(paid(1));
    let events = Events::new(1, &[], &[]);
    let batch = &after.entries[before.entries.len()..];
    events.tell(batch, before.pod().listing(), &Arc::new(after.pod()));
    let told = events.subscribe(Some(Cursor {
        epoch: 1,
        number: 0,
    }));
    let listings: Vec<_> = told
        .backlog
        .iter()
        .map(|event| (event.was, event.is))
        .collect();
    let [down, unlisted] = [Listing::Down, Listing::Unlisted];
    assert_eq!(listings, [(down, unlisted), (unlisted, unlisted)]);
}
