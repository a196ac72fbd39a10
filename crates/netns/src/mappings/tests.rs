use super::*;

const HOST: &str = "         0          0 4294967295\n";

fn line(inside: u32, outside: u32, length: u32) -> IdMapping {
    IdMapping {
        inside,
        outside,
        length,
    }
}

fn mappings(uids: &[IdMapping], gids: &[IdMapping]) -> Mappings {
    Mappings {
        uids: uids.to_vec(),
        gids: gids.to_vec(),
    }
}

#[test]
fn the_usual_mappings_are_taken() {
    let usual = [line(0, 100_000, 65_536)];
    assert_eq!(mappings(&usual, &usual).check(), Ok(()));
    let neighbours = [line(0, 1000, 1), line(1, 100_000, 999), line(1000, 1001, 5)];
    assert_eq!(mappings(&usual, &neighbours).check(), Ok(()));
    let all = [line(0, 0, u32::MAX)];
    assert_eq!(mappings(&all, &all).check(), Ok(()));
}

#[test]
fn each_reason_against_is_told_with_the_line() {
    let good = line(0, 100_000, 65_536);
    let cases = [
        (vec![], "no users are mapped"),
        (vec![line(0, 7, 0)], "'0 7 0' are none"),
        (vec![line(u32::MAX, 0, 1)], "'4294967295 0 1' run past"),
        (vec![line(0, u32::MAX, 1)], "'0 4294967295 1' run past"),
        (
            vec![good, line(65_535, 0, 1)],
            "'0 100000 65536' and '65535 0 1' share ids",
        ),
        (
            vec![good, line(65_536, 165_535, 1)],
            "'0 100000 65536' and '65536 165535 1' share ids",
        ),
        (vec![line(65_536, 99_999, 2), good], "share ids"),
        (vec![good; 341], "341 lines"),
    ];
    for (uids, reason) in cases {
        let text = mappings(&uids, &[good]).check().unwrap_err().to_string();
        assert!(text.contains(reason), "{text}");
        let groups = mappings(&[good], &uids).check().unwrap_err().to_string();
        assert_eq!(groups, text.replace("users", "groups"));
    }
}

#[test]
fn a_map_ends_below_a_page() {
    let numbers = |count: u32| -> Vec<IdMapping> {
        // 22 bytes a line.
        let at = |number| line(10_000_000 + number, 10_000_000 + number, 100);
        (0..count).map(|number| at(number * 100)).collect()
    };
    assert_eq!(text(&numbers(1)).len(), 22);
    assert_eq!(check(Ids::Users, &numbers(186)), Ok(()));
    let lines = 187;
    let ids = Ids::Users;
    assert_eq!(
        check(ids, &numbers(187)),
        Err(Unmappable::TooLong { ids, lines })
    );
}

#[test]
fn only_what_is_ours_in_one_run_can_be_lent() {
    let ids = Ids::Groups;
    assert_eq!(lendable(ids, &[line(0, 0, u32::MAX)], HOST), Ok(()));
    let ours = "0 100000 1000\n1000 300000 1000\n";
    assert_eq!(lendable(ids, &[line(5, 0, 1000)], ours), Ok(()));
    assert_eq!(lendable(ids, &[line(0, 1000, 1000)], ours), Ok(()));
    for mapping in [line(0, 2000, 1), line(0, 1999, 2), line(0, 999, 2)] {
        let refused = Err(Unmappable::NotOurs { ids, mapping });
        assert_eq!(lendable(ids, &[line(9, 0, 1), mapping], ours), refused);
    }
    assert!(lendable(ids, &[line(0, 0, 1)], "").is_err());
}

#[test]
fn a_map_is_written_a_line_for_each_run() {
    let text = text(&[line(0, 1000, 1), line(1, 100_000, 9)]);
    assert_eq!(text, "0 1000 1\n1 100000 9\n");
}
