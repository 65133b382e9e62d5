//! Pages beside the API on its listener, which the console registers in a slot.

use hyper::Response;
use hyper::header::HeaderMap;
use hyper::http::{Method, Uri};
use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

/// A request for a page, with its body.
#[derive(Debug)]
pub struct PageRequest {
    /// The method.
    pub method: Method,
    /// The target.
    pub uri: Uri,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
    /// The client's address.
    pub peer: IpAddr,
}

/// The body of a page.
#[derive(Debug)]
pub enum PageBody {
    /// A static part of the program.
    Static(&'static [u8]),
    /// Made for this request.
    Made(Vec<u8>),
}

/// A page.
pub type PageResponse = Response<PageBody>;

/// A page that is being made.
pub type MakingPage<'p> = Pin<Box<dyn Future<Output = PageResponse> + Send + 'p>>;

/// A provider of pages.
pub trait Pages: fmt::Debug + Send + Sync {
    /// True for a path of these pages.
    fn has(&self, path: &str) -> bool;

    /// Octets that the body of a request may have, where they are more than anybody may send. The request is its head
    /// alone.
    fn long_body(&self, _: &PageRequest) -> Option<usize> {
        None
    }

    /// Answers a request.
    fn respond(&self, request: PageRequest) -> MakingPage<'_>;
}

/// The slot for pages; copies share it.
#[derive(Clone, Debug, Default)]
pub struct PageSlot(Arc<OnceLock<Arc<dyn Pages>>>);

impl PageSlot {
    /// Registers the pages, once.
    pub fn put(&self, pages: Arc<dyn Pages>) {
        let _ = self.0.set(pages); // a second call has no effect
    }

    /// The pages with a path.
    pub fn of(&self, path: &str) -> Option<&Arc<dyn Pages>> {
        self.0.get().filter(|pages| pages.has(path))
    }
}
