//! The ImageService of a node without images.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tonic::{Code, Request, Response, Status};

use crate::node::Node;
use crate::proto::v1;
use crate::proto::v1::image_service_server::ImageService;
use crate::refusal::refuse;

pub(crate) struct Images {
    pub(crate) node: Arc<dyn Node>,
}

#[tonic::async_trait]
impl ImageService for Images {
    async fn list_images(
        &self,
        _request: Request<v1::ListImagesRequest>,
    ) -> Result<Response<v1::ListImagesResponse>, Status> {
        Ok(Response::new(v1::ListImagesResponse::default()))
    }

    /// An image that is not there is no error: the answer is without one.
    async fn image_status(
        &self,
        _request: Request<v1::ImageStatusRequest>,
    ) -> Result<Response<v1::ImageStatusResponse>, Status> {
        Ok(Response::new(v1::ImageStatusResponse::default()))
    }

    async fn pull_image(
        &self,
        _request: Request<v1::PullImageRequest>,
    ) -> Result<Response<v1::PullImageResponse>, Status> {
        let message = "podwalk has no images yet: it runs pods without containers";
        Err(refuse(Code::Unimplemented, message))
    }

    /// One that is not there is removed already.
    async fn remove_image(
        &self,
        _request: Request<v1::RemoveImageRequest>,
    ) -> Result<Response<v1::RemoveImageResponse>, Status> {
        Ok(Response::new(v1::RemoveImageResponse::default()))
    }

    /// Kubelet's probe of an image service. Images use nothing.
    async fn image_fs_info(
        &self,
        _request: Request<v1::ImageFsInfoRequest>,
    ) -> Result<Response<v1::ImageFsInfoResponse>, Status> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_nanos();
        let directory = self.node.image_directory();
        let usage = v1::FilesystemUsage {
            timestamp: i64::try_from(now).unwrap_or(i64::MAX),
            fs_id: Some(v1::FilesystemIdentifier {
                mountpoint: directory.to_string_lossy().into_owned(),
            }),
            used_bytes: Some(v1::UInt64Value { value: 0 }),
            inodes_used: Some(v1::UInt64Value { value: 0 }),
        };
        Ok(Response::new(v1::ImageFsInfoResponse {
            image_filesystems: vec![usage.clone()],
            container_filesystems: vec![usage],
        }))
    }
}

#[cfg(test)]
mod tests;
