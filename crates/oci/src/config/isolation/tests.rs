use super::*;

#[test]
fn a_run_maps_its_ids_and_no_others() {
    let run = |container_id, length| IdMapping {
        container_id,
        host_id: 7,
        length,
    };
    assert!(run(10, 2).maps(10) && run(10, 2).maps(11));
    assert!(!run(10, 2).maps(9) && !run(10, 2).maps(12));
    assert!(!run(0, 0).maps(0));
    assert!(run(0, u32::MAX).maps(u32::MAX - 1));
}

#[test]
fn empty_parts_of_a_label_are_the_usual_ones() {
    let none = SelinuxLabel::default();
    assert_eq!(none.of_process(), "system_u:system_r:container_t:s0");
    assert_eq!(none.of_mounts(), "system_u:object_r:container_file_t:s0");
    let label = SelinuxLabel {
        user: "u".to_owned(),
        role: "r".to_owned(),
        kind: "t".to_owned(),
        level: "s0:c1,c2".to_owned(),
    };
    assert_eq!(label.of_process(), "u:r:t:s0:c1,c2");
    assert_eq!(label.of_mounts(), "u:object_r:container_file_t:s0:c1,c2");
}
