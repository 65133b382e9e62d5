//! A connected stream of any kind: TCP, TLS over it, or a simulated one. What is generic over streams, such as HTTP, is
//! compiled once for all of them.

use tokio::io::{AsyncRead, AsyncWrite};

/// Octets in both directions.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}

/// A stream whose kind is of no importance.
pub type BoxedStream = Box<dyn ByteStream>;
