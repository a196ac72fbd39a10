use super::*;
use crate::service::tests::{Lent, nothing};

fn images() -> Images {
    Images {
        node: Arc::new(Lent::default()),
    }
}

fn answered<T>(call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Status> {
    futures_executor::block_on(call).map(Response::into_inner)
}

#[test]
fn there_are_none_and_what_is_not_there_is_removed() {
    let images = images();
    let listed = answered(images.list_images(nothing())).unwrap();
    assert!(listed.images.is_empty());
    let status = answered(images.image_status(nothing())).unwrap();
    assert_eq!(status.image, None);
    answered(images.remove_image(nothing())).unwrap();
    let refused = answered(images.pull_image(nothing())).unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    assert!(refused.message().contains("no images yet"), "{refused:?}");
}

/// Kubelet looks for an image file system before it is ready.
#[test]
fn the_image_file_system_is_the_state_directory_s() {
    let told = answered(images().image_fs_info(nothing())).unwrap();
    let [of_images] = &told.image_filesystems[..] else {
        panic!("{told:?}");
    };
    assert_eq!(told.container_filesystems, told.image_filesystems);
    let place = of_images.fs_id.as_ref().unwrap();
    assert_eq!(place.mountpoint, "/var/lib/podwalk");
    assert!(of_images.timestamp > 0);
}
