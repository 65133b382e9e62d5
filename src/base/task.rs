//! Tasks of the runtime in little code. The runtime's own functions are compiled once more for each future, about 3 KB
//! each time; here for each result. What begins a task for each query calls the runtime.

use std::pin::Pin;
use tokio::task::JoinHandle;

/// A future of any kind.
pub type BoxedFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Runs a future as a task.
pub fn spawn<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    tokio::spawn(boxed(future))
}

/// Runs blocking work on a thread for such.
pub fn spawn_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let work: Box<dyn FnOnce() -> T + Send> = Box::new(work);
    tokio::task::spawn_blocking(work)
}

/// A future whose kind is of no importance from here on.
pub fn boxed<T>(future: impl Future<Output = T> + Send + 'static) -> BoxedFuture<T> {
    Box::pin(future)
}

/// Has hyper run its tasks in the same way.
#[derive(Clone, Copy, Debug, Default)]
pub struct TaskExecutor;

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for TaskExecutor {
    fn execute(&self, future: F) {
        spawn(future);
    }
}
