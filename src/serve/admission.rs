//! How many may be at work, and how many may wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::serve::problem::Problem;

/// Lets a bounded number in; those who wait come in by their order.
pub(super) struct Admission {
    places: Arc<Semaphore>,
    /// Places in all.
    total: usize,
    waiting: AtomicUsize,
    queue: usize,
}

/// Counts one who waits, also when it gives up.
struct Waits<'a>(&'a AtomicUsize);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Admission {
    pub fn new(places: usize, queue: usize) -> Self {
        let total = places;
        Self { places: Arc::new(Semaphore::new(places)), total, waiting: 0.into(), queue }
    }

    /// Waits for `count` places, at most as many as there are.
    ///
    /// # Errors
    /// Too many wait already, or the server stops.
    pub async fn enter(&self, count: usize) -> Result<OwnedSemaphorePermit, Problem> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        if let Ok(permit) = Arc::clone(&self.places).try_acquire_many_owned(count) {
            return Ok(permit);
        }
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waits = Waits(&self.waiting);
        if self.places.is_closed() {
            return Err(Problem::stopping());
        }
        if before >= self.queue {
            return Err(Problem::busy());
        }
        let places = Arc::clone(&self.places).acquire_many_owned(count);
        places.await.map_err(|_| Problem::stopping())
    }

    /// Nobody comes in any more.
    pub fn close(&self) {
        self.places.close();
    }

    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Places that are taken.
    pub fn taken(&self) -> usize {
        self.total.saturating_sub(self.places.available_permits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn so_many_are_in_and_so_many_wait() {
        let admission = Arc::new(Admission::new(3, 1));
        let two = admission.enter(2).await.unwrap();
        let one = admission.enter(1).await.unwrap();
        assert_eq!(admission.taken(), 3);
        let waits = {
            let admission = Arc::clone(&admission);
            tokio::spawn(async move { admission.enter(2).await.map(drop) })
        };
        while admission.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        let busy = admission.enter(1).await.unwrap_err();
        assert_eq!(busy.status.as_u16(), 429);
        drop(one);
        tokio::task::yield_now().await;
        assert_eq!(admission.waiting(), 1);
        drop(two);
        waits.await.unwrap().unwrap();
        assert_eq!((admission.waiting(), admission.taken()), (0, 0));
    }

    #[tokio::test]
    async fn a_server_that_stops_lets_nobody_in() {
        let admission = Arc::new(Admission::new(1, 5));
        let place = admission.enter(1).await.unwrap();
        let waits = {
            let admission = Arc::clone(&admission);
            tokio::spawn(async move { admission.enter(1).await.map(drop) })
        };
        while admission.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        admission.close();
        assert_eq!(waits.await.unwrap().unwrap_err().status.as_u16(), 503);
        drop(place);
        assert_eq!(admission.enter(1).await.unwrap_err().status.as_u16(), 503);
    }
}
