//! Threads that share the tasks of one operation.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rayon::{ThreadPool, ThreadPoolBuilder};

/// A fixed number of threads. Those of one number are created once and live as long as the process.
#[derive(Clone)]
pub struct Threads(Arc<ThreadPool>);

/// More than any machine has; a bound on what a mistaken option can start.
pub const MOST_THREADS: usize = 1024;

impl Threads {
    /// `count` threads; 0: as many as the machine offers this process.
    pub fn new(count: usize) -> Result<Self, String> {
        static POOLS: Mutex<Option<HashMap<usize, Threads>>> = Mutex::new(None);
        if count > MOST_THREADS {
            return Err(format!("{count} threads are more than {MOST_THREADS}"));
        }
        let available = || std::thread::available_parallelism().map_or(1, usize::from);
        let count = if count == 0 { available() } else { count };
        let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
        let pools = pools.get_or_insert_default();
        if let Some(threads) = pools.get(&count) {
            return Ok(threads.clone());
        }
        let pool = ThreadPoolBuilder::new().num_threads(count).thread_name(|index| format!("ream-{index}")).build();
        let threads = Self(Arc::new(pool.map_err(|error| format!("threads could not be started: {error}"))?));
        pools.insert(count, threads.clone());
        Ok(threads)
    }

    /// Number of threads.
    pub fn count(&self) -> usize {
        self.0.current_num_threads()
    }

    /// Runs `body(scratch, task)` for every task below `tasks`. A thread takes the next task when it is done with its
    /// last one, and makes its scratch once. Which thread runs a task is left open, so a task's result must not depend
    /// on the scratch's former content, nor may tasks write the same memory.
    pub fn run<S>(&self, tasks: usize, scratch: impl Fn() -> S + Sync, body: impl Fn(&mut S, usize) + Sync) {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut own = None;
            loop {
                let task = next.fetch_add(1, Ordering::Relaxed);
                if task >= tasks {
                    return;
                }
                body(own.get_or_insert_with(&scratch), task);
            }
        };
        if tasks <= 1 || self.count() == 1 {
            work();
        } else {
            self.0.broadcast(|_| work());
        }
    }

    /// Runs `body` on pieces of about `size` items that cover `0..items`.
    pub fn pieces(&self, items: usize, size: usize, body: impl Fn(std::ops::Range<usize>) + Sync) {
        let size = size.max(1);
        self.run(items.div_ceil(size), || (), |(), piece| body(piece * size..items.min((piece + 1) * size)));
    }
}

#[cfg(test)]
mod tests {
    use super::Threads;
    use crate::memory::Disjoint;

    #[test]
    fn every_item_is_visited_once() {
        for count in [1, 3] {
            let mut visits = vec![0_u8; 1000];
            let shared = Disjoint::new(&mut visits);
            Threads::new(count).unwrap().pieces(1000, 7, |range| {
                // SAFETY: pieces are disjoint.
                for visit in unsafe { shared.range(range.start, range.len()) } {
                    *visit += 1;
                }
            });
            assert!(visits.iter().all(|&visit| visit == 1));
        }
    }

    #[test]
    fn too_many_threads_are_refused() {
        assert!(Threads::new(100_000).is_err());
    }
}
