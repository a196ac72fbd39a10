use super::*;
use crate::sim::pod_id;

fn host() -> (SimHost, SimClock) {
    let clock = SimClock::default();
    (SimHost::new(clock.clone()), clock)
}

/// Makes the things, one effect for all.
fn make(host: &SimHost, things: &[Thing]) {
    let changes: Vec<_> = things.iter().map(|thing| Change::Make(*thing)).collect();
    let effect = host.begin(pod_id(1), &changes);
    while host.go_on(effect) {}
    host.end(effect);
}

fn take(host: &SimHost, thing: Thing) {
    let effect = host.begin(pod_id(1), &[Change::Take(thing)]);
    assert!(host.go_on(effect));
    host.end(effect);
}

#[test]
fn what_lives_in_a_namespace_goes_with_it_and_cannot_be_without_it() {
    let (host, _) = host();
    make(&host, &[Thing::Interface(0)]);
    assert_eq!(host.of(pod_id(1)), []);
    make(
        &host,
        &[
            Thing::Mount,
            Thing::Loopback,
            Thing::Interface(0),
            Thing::Address(0),
        ],
    );
    take(&host, Thing::Mount);
    assert_eq!(host.of(pod_id(1)), [Thing::Address(0)]);
}

#[test]
fn an_abandoned_effect_finishes_unless_it_is_quieted() {
    for quieted in [false, true] {
        let (host, _) = host();
        let effect = host.begin(
            pod_id(1),
            &[Change::Make(Thing::File), Change::Make(Thing::Mount)],
        );
        assert!(host.go_on(effect));
        host.abandon(effect);
        assert_eq!(host.strays(), 1);
        if quieted {
            host.quiet(pod_id(2));
            assert_eq!(host.strays(), 1, "that was another pod's");
            host.quiet(pod_id(1));
        }
        host.let_strays_finish();
        assert_eq!(host.has(pod_id(1), Thing::Mount), !quieted);
        assert_eq!(host.strays(), 0);
    }
}

#[test]
fn an_effect_that_is_waited_for_is_not_quieted_and_no_stray() {
    let (host, _) = host();
    let effect = host.begin(pod_id(1), &[Change::Make(Thing::File)]);
    host.quiet(pod_id(1));
    assert_eq!(host.strays(), 0);
    assert!(host.go_on(effect));
    host.abandon(effect);
    assert_eq!(host.strays(), 0, "nothing of it was left");
}

#[test]
fn a_reboot_keeps_the_disk_and_nothing_else() {
    let (host, _) = host();
    make(
        &host,
        &[Thing::File, Thing::Mount, Thing::Address(0), Thing::Sandbox],
    );
    host.go_down(false);
    assert_eq!(host.of(pod_id(1)), [Thing::Address(0)]);
}

#[test]
fn a_power_loss_takes_back_what_was_done_to_the_disk_shortly_before() {
    for (age, back) in [(0, true), (119, true), (120, false)] {
        let (host, clock) = host();
        make(&host, &[Thing::Address(0)]);
        clock.pass(Duration::from_secs(1000));
        take(&host, Thing::Address(0));
        make(&host, &[Thing::Address(1)]);
        clock.pass(Duration::from_secs(age));
        host.go_down(true);
        let left = if back {
            Thing::Address(0)
        } else {
            Thing::Address(1)
        };
        assert_eq!(host.of(pod_id(1)), [left], "{age} s");
    }
}

#[test]
fn what_must_never_happen_is_written_down() {
    let (host, _) = host();
    make(&host, &[Thing::Mount, Thing::Address(0)]);
    assert_eq!(host.wrong(), Vec::<String>::new());
    make(&host, &[Thing::Address(0)]);
    assert_eq!(host.wrong().len(), 1, "ADD twice");
    make(&host, &[Thing::Mount]);
    assert_eq!(host.wrong().len(), 2, "a stacked mount");
    assert_eq!(host.namespace(pod_id(1)), None);
    let greedy = |host: &SimHost| {
        let effect = host.begin(
            pod_id(1),
            &[Change::MakeGreedy, Change::Take(Thing::Sandbox)],
        );
        while host.go_on(effect) {}
        host.end(effect);
    };
    greedy(&host);
    assert_eq!(host.wrong().len(), 2, "its first use");
    greedy(&host);
    assert_eq!(host.wrong().len(), 3, "a used network");
}

#[test]
fn a_namespace_and_a_process_made_anew_are_others() {
    let (host, _) = host();
    make(&host, &[Thing::Mount, Thing::Sandbox]);
    let before = (host.namespace(pod_id(1)), host.process(pod_id(1)));
    take(&host, Thing::Mount);
    take(&host, Thing::Sandbox);
    assert_eq!(
        (host.namespace(pod_id(1)), host.process(pod_id(1))),
        (None, None)
    );
    make(&host, &[Thing::Mount, Thing::Sandbox]);
    assert_ne!(host.namespace(pod_id(1)), before.0);
    assert_ne!(host.process(pod_id(1)), before.1);
}
