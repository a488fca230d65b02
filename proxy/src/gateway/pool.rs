//! A fixed number of threads for inspection that is too large to run inline: a Heartbeat never waits for somebody's 16 MiB batch.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use weir_session::{Done, Job, Scratch};

use super::connection::{Inbox, Message};

/// Handle to the threads.
#[derive(Clone)]
pub(crate) struct Pool {
    work: mpsc::Sender<(Job, Inbox)>,
}

impl Pool {
    /// Starts `threads` of them. They end when the last handle is gone.
    pub(crate) fn start(threads: usize) -> std::io::Result<Self> {
        // The queue is bounded by what sessions may have in flight (`inflight_requests_max`, `memory_max`).
        let (work, queue) = mpsc::channel::<(Job, Inbox)>();
        let queue = Arc::new(Mutex::new(queue));
        for at in 0..threads {
            let queue = Arc::clone(&queue);
            std::thread::Builder::new().name(format!("inspect-{at}")).spawn(move || inspect(&queue))?;
        }
        Ok(Self { work })
    }

    /// Hands a job over; its result comes to the inbox.
    pub(crate) fn submit(&self, job: Job, inbox: Inbox) {
        if let Err(mpsc::SendError((job, inbox))) = self.work.send((job, inbox)) {
            inbox.send(Message::Done(Done::failed(job.slot())));
        }
    }
}

fn inspect(queue: &Mutex<mpsc::Receiver<(Job, Inbox)>>) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((job, inbox)) = next else { return };
        inbox.send(Message::Done(run(job)));
    }
}

/// Runs a job on this thread, with the thread's scratch. A job that panics refuses what it held.
pub(crate) fn run(job: Job) -> Done {
    thread_local! {
        static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::default());
    }
    let slot = job.slot();
    SCRATCH.with_borrow_mut(|scratch| {
        catch_unwind(AssertUnwindSafe(|| job.run(scratch))).unwrap_or_else(|_| {
            tracing::error!(event = "inspection.panicked", hint = "this is a defect of weir; the frame was refused");
            *scratch = Scratch::default();
            Done::failed(slot)
        })
    })
}
