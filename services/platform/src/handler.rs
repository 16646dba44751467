//! RPC handlers: one [`Handler`] implementation per RPC, so that each RPC has a file of its own.
//!
//! tonic generates one trait per gRPC service, and a trait is implemented in one place.
//! [`grpc_service!`](crate::grpc_service) writes that implementation: a list of the service's RPCs, each forwarded to
//! the handler of its request message.

use tonic::{Request, Response, Status, Streaming};

use crate::{call::Call, failure::Failure};

/// The handler of one RPC of a gRPC service: the RPC with the request message `Q`.
///
/// ```
/// use haven_platform::{call::Call, failure::Failure, handler::Handler};
///
/// struct GetGreeting {
///     name: String,
/// }
///
/// struct GreetingRpc;
///
/// impl Handler<GetGreeting> for GreetingRpc {
///     type Answer = String;
///
///     async fn handle(&self, _call: &Call, request: GetGreeting) -> Result<String, Failure> {
///         Ok(format!("Hello, {}!", request.name))
///     }
/// }
/// ```
pub trait Handler<Q> {
    /// The response message; a stream of messages; or a type that converts into a [`Response`] with metadata.
    type Answer;

    /// Parses and performs `request`, and returns the response.
    ///
    /// # Errors
    ///
    /// The failure that is sent to the caller.
    fn handle(&self, call: &Call, request: Q) -> impl Future<Output = Result<Self::Answer, Failure>> + Send;
}

/// Passes a request from tonic's generated trait to its [`Handler`].
///
/// # Errors
///
/// The handler's failure as a status; INTERNAL when the request did not pass the server's layers.
pub async fn handle<S, Q, R>(service: &S, request: Request<Q>) -> Result<Response<R>, Status>
where
    S: Handler<Q, Answer: Into<Response<R>>>,
{
    let call = Call::of(&request)?;
    Ok(service.handle(&call, request.into_inner()).await?.into())
}

/// The handler of one RPC whose request is a stream of messages `Q`.
pub trait UploadHandler<Q> {
    /// The response message.
    type Answer;

    /// Receives and performs the requests, and returns the response.
    ///
    /// # Errors
    ///
    /// The status that is sent to the caller: a failure, or that of a request that could not be received.
    fn receive(
        &self,
        call: &Call,
        requests: Streaming<Q>,
    ) -> impl Future<Output = Result<Self::Answer, Status>> + Send;
}

/// Passes a stream of requests from tonic's generated trait to its [`UploadHandler`].
///
/// # Errors
///
/// As [`handle`].
pub async fn receive<S, Q, R>(
    service: &S,
    requests: Request<Streaming<Q>>,
) -> Result<Response<S::Answer>, Status>
where
    S: UploadHandler<Q, Answer = R>,
{
    let call = Call::of(&requests)?;
    Ok(Response::new(
        service.receive(&call, requests.into_inner()).await?,
    ))
}

/// Implements a gRPC service's generated trait: each RPC is forwarded to the [`Handler`] of its request message.
///
/// RPCs that answer one message with one message come first, as `rpc`; RPCs that answer a stream of messages with one follow, as
/// `upload`, each forwarded to the [`UploadHandler`] of its messages; and then RPCs that answer with a stream, as `stream`, each
/// with the name of the trait's associated type.
///
/// ```ignore
/// haven_platform::grpc_service! {
///     impl WidgetService for WidgetRpc {
///         rpc list_widgets(ListWidgetsRequest) -> ListWidgetsResponse;
///         stream watch_widgets(WatchWidgetsRequest) -> WatchWidgetsStream of WatchWidgetsResponse;
///     }
/// }
/// ```
#[macro_export]
macro_rules! grpc_service {
    (
        impl $service:ident for $rpc:ty {
            $(rpc $method:ident($request:ty) -> $response:ty;)*
            $(upload $upload_method:ident($upload_request:ty) -> $upload_response:ty;)*
            $(stream $stream_method:ident($stream_request:ty) -> $stream:ident of $item:ty;)*
        }
    ) => {
        #[tonic::async_trait]
        impl $service for $rpc {
            $(
                async fn $method(
                    &self,
                    request: tonic::Request<$request>,
                ) -> Result<tonic::Response<$response>, tonic::Status> {
                    $crate::handler::handle(self, request).await
                }
            )*
            $(
                async fn $upload_method(
                    &self,
                    request: tonic::Request<tonic::Streaming<$upload_request>>,
                ) -> Result<tonic::Response<$upload_response>, tonic::Status> {
                    $crate::handler::receive(self, request).await
                }
            )*
            $(
                type $stream = futures_util::stream::BoxStream<'static, Result<$item, tonic::Status>>;

                async fn $stream_method(
                    &self,
                    request: tonic::Request<$stream_request>,
                ) -> Result<tonic::Response<Self::$stream>, tonic::Status> {
                    $crate::handler::handle(self, request).await
                }
            )*
        }
    };
}
