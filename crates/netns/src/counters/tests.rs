use super::*;

fn figures() -> Stats64 {
    let mut figures = Stats64::default();
    figures.rx_bytes = 1;
    figures.rx_packets = 2;
    figures.rx_errors = 3;
    figures.rx_dropped = 4;
    figures.tx_bytes = 5;
    figures.tx_packets = 6;
    figures.tx_errors = 7;
    figures.tx_dropped = 8;
    figures
}

fn message(flags: LinkFlags, attributes: Vec<LinkAttribute>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.flags = flags;
    message.attributes = attributes;
    message
}

fn complete() -> Vec<LinkAttribute> {
    vec![
        LinkAttribute::IfName("eth0".into()),
        LinkAttribute::Stats64(figures()),
    ]
}

#[test]
fn each_figure_goes_to_its_own_field() {
    let expected = LinkCounters {
        name: "eth0".into(),
        rx_bytes: 1,
        rx_packets: 2,
        rx_errors: 3,
        rx_dropped: 4,
        tx_bytes: 5,
        tx_packets: 6,
        tx_errors: 7,
        tx_dropped: 8,
    };
    assert_eq!(of_link(&message(LinkFlags::Up, complete())), Some(expected));
}

#[test]
fn the_loopback_is_left_out_whatever_its_name() {
    assert_eq!(of_link(&message(LinkFlags::Loopback, complete())), None);
}

#[test]
fn a_link_without_name_or_figures_is_left_out_rather_than_shown_idle() {
    for missing in 0..2 {
        let mut attributes = complete();
        attributes.remove(missing);
        assert_eq!(of_link(&message(LinkFlags::Up, attributes)), None);
    }
}
