//! The templates that a run cycles through.

use std::sync::Arc;

use alula_catalog::Signal;

use crate::generator::series::SeriesSource;
use crate::generator::template::Template;
use crate::generator::{Activity, MetricType, Random, Shop, Topology, logs_request, traces_request, wire};
use crate::sql_client::{Error, Result};

/// Different requests of spans and log records before they repeat (with other ids and times).
const VARIANTS: u64 = 16;

/// All templates of a run together.
const MAX_BYTES: usize = 1 << 30;

/// The time that templates are written for. Any would do: it is replaced when they are sent.
const EPOCH_NS: u64 = 1_700_000_000_000_000_000;

/// Transactions of a template start this far apart.
const TRANSACTION_NS: u64 = 2_000_000;

/// What the records are about.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    pub(crate) seed: u64,
    pub(crate) services: usize,
    /// Metrics only.
    pub(crate) series: usize,
    /// Metrics only; not empty.
    pub(crate) types: Vec<MetricType>,
    /// Attributes of each record; without it as many as are natural.
    pub(crate) attributes: Option<usize>,
    /// When the processes that report started, for cumulative metrics.
    pub(crate) start_ns: u64,
}

/// Full requests that repeat, and a shorter one that makes the total come out even.
#[derive(Debug)]
pub(super) struct Bodies {
    repeating: Vec<Arc<Template>>,
    /// Number of full requests, and the rest of the total; `None` if there is no total.
    full: Option<u64>,
    last: Option<Arc<Template>>,
}

impl Bodies {
    pub(super) fn build(signal: Signal, content: &Content, batch: u64, total: Option<u64>) -> Result<Self> {
        let full = total.map(|total| total / batch);
        let variants = match signal {
            Signal::Metrics => (content.series as u64).div_ceil(batch),
            Signal::Logs | Signal::Traces => VARIANTS,
        };
        let variants = full.map_or(variants, |full| variants.min(full));
        let mut source = Source::new(content);
        let mut bodies = Self { repeating: Vec::new(), full, last: None };
        let mut bytes = 0;
        for _ in 0..variants {
            let template = source.template(signal, batch);
            bytes += template.len_bytes();
            if bytes > MAX_BYTES {
                return Err(Error::usage(
                    "the requests would take more than 1 GiB of memory; lower --series, --attributes or --batch",
                ));
            }
            bodies.repeating.push(Arc::new(template));
        }
        let rest = total.map_or(0, |total| total % batch);
        if rest > 0 {
            bodies.last = Some(Arc::new(source.template(signal, rest)));
        }
        Ok(bodies)
    }

    /// The body of request `number`, counted from zero. `None` once the total is reached.
    pub(super) fn get(&self, number: u64) -> Option<&Arc<Template>> {
        match self.full {
            Some(full) if number == full => self.last.as_ref(),
            Some(full) if number > full => None,
            _ => self.repeating.get((number % self.repeating.len() as u64) as usize),
        }
    }
}

/// Makes one template after the other.
struct Source {
    random: Random,
    shop: Shop,
    series: SeriesSource,
    series_count: usize,
    next_series: usize,
}

impl Source {
    fn new(content: &Content) -> Self {
        let topology = Topology::new(content.services);
        let random = Random::new(content.seed);
        Self {
            shop: Shop::new(topology.clone(), random.clone(), content.attributes, None),
            random,
            series: SeriesSource {
                topology,
                types: content.types.clone(),
                attributes: content.attributes,
                start_ns: content.start_ns,
            },
            series_count: content.series,
            next_series: 0,
        }
    }

    fn template(&mut self, signal: Signal, records: u64) -> Template {
        match signal {
            Signal::Metrics => self.metrics(records),
            Signal::Logs => self.logs(records),
            Signal::Traces => self.traces(records),
        }
    }

    /// Goes round all series. A series that occurs again in the same request has a later time there.
    fn metrics(&mut self, records: u64) -> Template {
        let first = self.next_series;
        let count = self.series_count;
        self.next_series = (first + records as usize) % count;
        let points = (0..records as usize).map(|place| {
            let round = (place / count) as u64;
            ((first + place) % count, EPOCH_NS + round * 1_000_000)
        });
        let request = self.series.request(points, &mut self.random);
        Template::new(&request, &wire::METRICS, records)
    }

    fn logs(&mut self, records: u64) -> Template {
        let mut activity = self.play(|activity| activity.logs.len() as u64 >= records);
        activity.logs.truncate(records as usize);
        Template::new(&logs_request(self.shop.topology(), activity.logs), &wire::LOGS, records)
    }

    fn traces(&mut self, records: u64) -> Template {
        let mut activity = self.play(|activity| activity.spans.len() as u64 >= records);
        activity.spans.truncate(records as usize);
        Template::new(&traces_request(self.shop.topology(), activity.spans), &wire::TRACES, records)
    }

    fn play(&mut self, enough: impl Fn(&Activity) -> bool) -> Activity {
        let mut activity = Activity::default();
        let mut at_ns = EPOCH_NS;
        while !enough(&activity) {
            self.shop.transaction(at_ns, &mut activity);
            at_ns += TRANSACTION_NS;
        }
        activity
    }
}
