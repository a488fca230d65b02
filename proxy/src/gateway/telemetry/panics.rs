//! Panics are defects of weir, and what one says may hold bytes of a record (a string that is cut, a value that was not expected): the log names
//! the place in the code, and nothing else.

use std::sync::Arc;
use std::time::Instant;

use super::throttle::{Source, Throttle};
use super::{Metrics, NOBODY, tell_suppressed};

/// From here on each panic of any thread is counted, and a line of the log in place of the standard library's.
pub(crate) fn tell_panics(metrics: Arc<Metrics>) {
    let (throttle, started) = (Throttle::default(), Instant::now());
    std::panic::set_hook(Box::new(move |panic| {
        metrics.process.panics.inc();
        let place = panic.location().map_or_else(|| NOBODY.to_owned(), |at| format!("{}:{}", at.file(), at.line()));
        let (listener, who) = (NOBODY.to_owned(), NOBODY.to_owned());
        let pass =
            throttle.pass(started.elapsed(), Source { event: "weir.panicked", listener, who, what: place.clone() });
        pass.silent.iter().for_each(tell_suppressed);
        let Some(suppressed) = pass.line else { return };
        let thread = std::thread::current().name().unwrap_or(NOBODY).to_owned();
        let hint = "this is a defect of weir; please report the place and the version";
        tracing::error!(event = "weir.panicked", place, thread, version = env!("CARGO_PKG_VERSION"), suppressed, hint);
    }));
}
