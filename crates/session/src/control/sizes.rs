//! What each topic takes in one batch, as weir itself asks it: DescribeConfigs (32), versions 1-4, `max.message.bytes` of topics. The
//! broker answers with its own `message.max.bytes` where a topic has none of its own.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_protocol::protocol::StrBytes;

/// Topics that one question names; an answer about so many takes some 100 KiB.
const QUESTION_TOPICS_MAX: usize = 1000;

/// How often all topics are asked for again. Those that are new are asked for whenever they are seen.
const ALL_EVERY: Duration = Duration::from_secs(25);

/// Kafka's code for a topic among the resources.
const TOPIC: i8 = 2;
const KEY: &str = "max.message.bytes";

/// What is known of the topics' limits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicSizes {
    /// What each topic takes in one batch, in bytes.
    pub batch_bytes_max: HashMap<Arc<str>, usize>,
    /// Topics of which the broker does not tell it: weir's user may not describe their configuration.
    pub untold: usize,
}

/// Questions about sizes, and what came of them.
#[derive(Debug, Default)]
pub(super) struct Sizes {
    /// `None`: the broker does not tell.
    known: HashMap<Arc<str>, Option<usize>>,
    queue: Vec<Arc<str>>,
    asked: Vec<Arc<str>>,
    all_asked_at: Option<Duration>,
    is_news: bool,
}

impl Sizes {
    /// These are all topics.
    pub(super) fn topics<'a>(&mut self, topics: impl Iterator<Item = &'a Arc<str>>, now: Duration) {
        let topics: HashSet<Arc<str>> = topics.cloned().collect();
        let known = self.known.len();
        self.known.retain(|topic, _| topics.contains(topic));
        self.is_news |= self.known.len() < known;
        let all = self.all_asked_at.is_none_or(|at| now >= at.saturating_add(ALL_EVERY));
        if all {
            self.all_asked_at = Some(now);
        }
        let waiting: HashSet<Arc<str>> = self.queue.drain(..).collect();
        let wanted =
            topics.into_iter().filter(|topic| all || waiting.contains(topic) || !self.known.contains_key(topic));
        self.queue = wanted.collect();
    }

    /// The next question, if there is one.
    pub(super) fn next_question(&mut self) -> Option<DescribeConfigsRequest> {
        let from = self.queue.len().saturating_sub(QUESTION_TOPICS_MAX);
        self.asked = self.queue.split_off(from);
        let resource = |topic: &Arc<str>| {
            DescribeConfigsResource::default()
                .with_resource_type(TOPIC)
                .with_resource_name(StrBytes::from_string(topic.to_string()))
                .with_configuration_keys(Some(vec![StrBytes::from_static_str(KEY)]))
        };
        let resources: Vec<_> = self.asked.iter().map(resource).collect();
        (!resources.is_empty()).then(|| DescribeConfigsRequest::default().with_resources(resources))
    }

    /// What the broker says to it. A topic that it refuses, or says nothing of, is one that it does not tell of.
    pub(super) fn answer(&mut self, answer: &DescribeConfigsResponse) {
        let told: HashMap<&str, usize> = answer
            .results
            .iter()
            .filter(|result| result.error_code == 0 && result.resource_type == TOPIC)
            .filter_map(|result| {
                let config = result.configs.iter().find(|config| config.name.as_str() == KEY)?;
                Some((result.resource_name.as_str(), config.value.as_ref()?.parse().ok()?))
            })
            .collect();
        for topic in self.asked.drain(..) {
            let size = told.get(topic.as_ref()).copied();
            self.is_news |= self.known.insert(topic, size) != Some(size);
        }
    }

    /// What is known, once everything was asked for and something is new.
    pub(super) fn news(&mut self) -> Option<TopicSizes> {
        if !self.queue.is_empty() || !self.asked.is_empty() || !std::mem::take(&mut self.is_news) {
            return None;
        }
        let told = |(topic, size): (&Arc<str>, &Option<usize>)| Some((Arc::clone(topic), (*size)?));
        let batch_bytes_max: HashMap<_, _> = self.known.iter().filter_map(told).collect();
        let untold = self.known.len() - batch_bytes_max.len();
        Some(TopicSizes { batch_bytes_max, untold })
    }
}
