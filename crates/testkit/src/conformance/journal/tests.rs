//! The journal that loses power keeps the rules too.

use futures_executor::block_on;
use proptest::prelude::*;

use super::*;
use crate::conformance::script;
use crate::sim::{Crash, Node, Setup};

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_journal_that_loses_power_loses_from_the_end(
        bytes in prop::collection::vec(any::<u8>(), 0..150),
        kept in 0..4_usize,
    ) {
        let node = Node::new(Setup::default());
        let open = async |opening| {
            if opening == Opening::AfterPowerLoss {
                node.crash(Crash::Power { kept, disk_lost: true });
            }
            node.journal.reopen();
            node.journal.clone()
        };
        prop_assert_eq!(block_on(journal(open, &script(&bytes))), Ok(()));
    }
}
