use podwalk_engine::id::{InstanceId, PodId};
use podwalk_engine::spec::{Security, UserMappings};

use super::*;

fn handler(vm: bool, consumes_network: bool) -> Handler {
    let mut handler = Handler::new("mine", "mine", "/run/mine");
    handler.vm = vm;
    handler.consumes_network = consumes_network;
    handler
}

#[test]
fn who_uses_its_network_up_must_have_one_of_its_own() {
    let owner = PodId::new([1; 12], InstanceId([2; 4]));
    let modes = [
        (NetworkMode::Cni, None),
        (NetworkMode::None, None),
        (NetworkMode::Host, Some("the host's")),
        (NetworkMode::Pod(owner), Some("another pod's")),
    ];
    for (network, whose) in modes {
        let spec = PodSpec {
            network,
            ..PodSpec::default()
        };
        assert_eq!(suits(&handler(true, false), &spec), Ok(()));
        let refused = suits(&handler(true, true), &spec).err();
        let said = refused.map(|error| error.to_string());
        assert_eq!(said.is_some(), whose.is_some(), "{said:?}");
        let names = |said: String| said.contains("'mine'") && said.contains(whose.unwrap_or("?"));
        assert!(said.is_none_or(names));
    }
}

#[test]
fn a_kernel_of_its_own_has_no_user_namespace_of_the_host_s() {
    let mut spec = PodSpec::default();
    spec.security.user_namespace = Some(UserMappings::default());
    assert_eq!(suits(&handler(false, false), &spec), Ok(()));
    let error = suits(&handler(true, true), &spec).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(error.remedy.contains("userns_options"), "{error}");
}

/// kubelet asks for POD or CONTAINER of ordinary pods; both are granted.
#[test]
fn a_kernel_of_its_own_has_no_namespace_of_the_host_s() {
    type Share = fn(&mut Security, Sharing);
    let fields: [(&str, Share); 2] = [
        ("namespace_options.pid", |security, with| {
            security.pid = with
        }),
        ("namespace_options.ipc", |security, with| {
            security.ipc = with
        }),
    ];
    for (field, share) in fields {
        for (sharing, granted) in [
            (Sharing::Pod, true),
            (Sharing::Container, true),
            (Sharing::Node, false),
        ] {
            let mut spec = PodSpec::default();
            share(&mut spec.security, sharing);
            assert_eq!(suits(&handler(false, false), &spec), Ok(()));
            let said = suits(&handler(true, false), &spec).err();
            assert_eq!(said.is_none(), granted, "{said:?}");
            let names = |error: &StepError| {
                let told = error.to_string();
                told.contains(field) && told.contains("'mine'") && error.remedy.contains(field)
            };
            assert!(said.is_none_or(|e| names(&e) && e.kind == ErrorKind::Invalid));
        }
    }
}
