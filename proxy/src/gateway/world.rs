//! The context that all sessions share, and the questions that they ask of the cluster.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, watch};
use uuid::Uuid;
use weir_session::Context;

use super::telemetry::{Source, Throttle};

/// Questions about topic ids that may be open at once, of all sessions together; further ones are asked by the next round.
const TOPIC_QUESTIONS_MAX: usize = 1024;

/// The current [`Context`], swapped whole.
#[derive(Clone, Debug)]
pub(crate) struct World {
    current: watch::Sender<Arc<Context>>,
    questions: mpsc::Sender<Vec<Uuid>>,
    throttle: Arc<Throttle>,
    started: Instant,
}

impl World {
    /// A world, and the end at which the cluster's task hears what sessions ask.
    pub(crate) fn new(context: Context) -> (Self, mpsc::Receiver<Vec<Uuid>>) {
        let (questions, asked) = mpsc::channel(TOPIC_QUESTIONS_MAX);
        (
            Self {
                current: watch::Sender::new(Arc::new(context)),
                questions,
                throttle: Arc::default(),
                started: Instant::now(),
            },
            asked,
        )
    }

    pub(crate) fn context(&self) -> Arc<Context> {
        Arc::clone(&self.current.borrow())
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<Context>> {
        self.current.subscribe()
    }

    /// Tells sessions whether the audit log can be written, as long as somebody writes it.
    pub(crate) async fn follow_log(self, mut recording: watch::Receiver<bool>) {
        while recording.changed().await.is_ok() {
            let up = *recording.borrow_and_update();
            self.update(|context| context.recording = up);
        }
    }

    /// Changes parts of the context; everything else stays.
    pub(crate) fn update(&self, change: impl FnOnce(&mut Context)) {
        self.current.send_modify(|context| change(Arc::make_mut(context)));
    }

    /// Asks for topic ids. When too much is asked at once the question is dropped: the session that asked closes after its
    /// `connect_timeout`, and its client asks again.
    pub(crate) fn ask_topics(&self, ids: Vec<Uuid>) {
        if self.questions.try_send(ids).is_ok() {
            return;
        }
        if let Some(suppressed) = self.line("cluster.questions_full", "") {
            tracing::warn!(event = "cluster.questions_full", limit = TOPIC_QUESTIONS_MAX, suppressed);
        }
    }

    /// Whether a line may be written that clients can cause again and again and that names none of them; in it how many like it were
    /// not written since the last one.
    fn line(&self, event: &'static str, what: &str) -> Option<Option<u64>> {
        let source = Source { event, listener: String::new(), who: String::new(), what: what.to_owned() };
        self.throttle.pass(self.started.elapsed(), source).line
    }
}
