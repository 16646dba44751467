//! gRPC calls with bytes that no generated stub would send.

use std::{error::Error, fmt::Debug, future::poll_fn, time::Duration};

use haven_testkit::client::Connection;
use http_body_util::BodyExt;
use tonic::{
    Request, Response, Status,
    body::Body,
    client::{Grpc, GrpcService},
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::{MetadataKey, MetadataMap, MetadataValue},
};

type BoxError = Box<dyn Error + Send + Sync>;

/// Makes a unary call of `path` with the bytes `body` as its message.
pub(crate) async fn call<C>(
    connection: C,
    path: &str,
    headers: MetadataMap,
    body: Vec<u8>,
) -> Result<Response<Vec<u8>>, Status>
where
    C: GrpcService<
            Body,
            Error: Into<BoxError>,
            ResponseBody: BodyExt<Error: Into<BoxError>> + Send + 'static,
        >,
{
    let mut grpc = Grpc::new(connection).max_decoding_message_size(usize::MAX);
    grpc.ready()
        .await
        .map_err(|error| Status::from_error(error.into()))?;
    let mut request = Request::new(body);
    *request.metadata_mut() = headers;
    grpc.unary(request, path.parse().unwrap(), Bytes).await
}

/// Makes a call of an RPC that streams its response, and returns the first message. Panics after five seconds without one.
pub(crate) async fn first<C>(
    connection: C,
    path: &str,
    headers: MetadataMap,
    body: Vec<u8>,
) -> Result<Response<Vec<u8>>, Status>
where
    C: GrpcService<
            Body,
            Error: Into<BoxError>,
            ResponseBody: BodyExt<Error: Into<BoxError>> + Send + 'static,
        >,
{
    let mut grpc = Grpc::new(connection).max_decoding_message_size(usize::MAX);
    grpc.ready()
        .await
        .map_err(|error| Status::from_error(error.into()))?;
    let mut request = Request::new(body);
    *request.metadata_mut() = headers;
    let (metadata, mut stream, extensions) = grpc
        .server_streaming(request, path.parse().unwrap(), Bytes)
        .await?
        .into_parts();
    let message = tokio::time::timeout(Duration::from_secs(5), stream.message()).await;
    let message = message.expect("the stream sent no message within five seconds")?;
    Ok(Response::from_parts(
        metadata,
        message.unwrap_or_default(),
        extensions,
    ))
}

/// Sends any HTTP request. Returns the HTTP status, the gRPC status from the headers or trailers, and the body.
pub(crate) async fn request(
    connection: Connection,
    request: http::Request<Vec<u8>>,
) -> (http::StatusCode, Option<Status>, Vec<u8>) {
    let (head, body, trailers) = exchange(connection, request).await;
    let status = Status::from_header_map(&trailers).or_else(|| Status::from_header_map(&head.headers));
    (head.status, status, body)
}

/// Sends any HTTP request. Returns the head, the body and the trailers of the answer.
pub(crate) async fn exchange<C>(
    mut connection: C,
    request: http::Request<Vec<u8>>,
) -> (http::response::Parts, Vec<u8>, http::HeaderMap)
where
    C: GrpcService<Body, Error: Debug, ResponseBody: BodyExt<Error: Debug>>,
{
    poll_fn(|context| connection.poll_ready(context)).await.unwrap();
    let request = request.map(|body| Body::new(http_body_util::Full::from(body)));
    let (head, body) = connection.call(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap();
    let trailers = body.trailers().cloned().unwrap_or_default();
    (head, body.to_bytes().to_vec(), trailers)
}

/// Returns `message` with gRPC's length prefix: the compression flag and the length.
pub(crate) fn prefixed(flag: u8, length: usize, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(length).unwrap().to_be_bytes();
    [&[flag], &length[..], message].concat()
}

/// Builds metadata from pairs of name and value.
pub(crate) fn headers(pairs: &[(&str, &str)]) -> MetadataMap {
    let mut map = MetadataMap::new();
    for (name, value) in pairs {
        let name = MetadataKey::from_bytes(name.as_bytes()).unwrap();
        map.append(name, MetadataValue::try_from(*value).unwrap());
    }
    map
}

/// Encodes a length-delimited (wire type 2) protobuf field.
pub(crate) fn field(number: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::encode_key(number, prost::encoding::WireType::LengthDelimited, &mut bytes);
    prost::encoding::encode_varint(content.len() as u64, &mut bytes);
    bytes.extend_from_slice(content);
    bytes
}

/// Codec that passes messages through as bytes.
struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        bytes::BufMut::put_slice(buffer, &item);
        Ok(())
    }
}

impl Decoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(
            bytes::Buf::copy_to_bytes(buffer, bytes::Buf::remaining(buffer)).to_vec(),
        ))
    }
}
