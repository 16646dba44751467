//! The message size limits of gRPC services.

/// The message size limits of a gRPC service, for [`grpc_server!`](crate::grpc_server).
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The maximum size of a request, in bytes, before it was compressed.
    pub request: usize,
    /// The maximum size of a response, in bytes, before it is compressed.
    pub response: usize,
}

/// Sets the limits of a generated server, and lets it read compressed requests.
///
/// ```ignore
/// server.service(|limits| haven_platform::grpc_server!(WidgetServiceServer::new(widgets), limits))
/// ```
#[macro_export]
macro_rules! grpc_server {
    ($server:expr, $limits:expr) => {{
        let limits: $crate::server::Limits = $limits;
        $server
            .max_decoding_message_size(limits.request)
            .max_encoding_message_size(limits.response)
            .accept_compressed(tonic::codec::CompressionEncoding::Gzip)
            .accept_compressed(tonic::codec::CompressionEncoding::Zstd)
    }};
}
