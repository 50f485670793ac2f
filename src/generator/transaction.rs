//! One user request through the services: spans with parents, logs that name their span, and what the meters count.

use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, KeyValue, KeyValueList, any_value::Value,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, SeverityNumber};
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};

use super::otlp::{Of, attribute, boolean, float, text, whole, with_count};
use super::topology::Role;
use super::{Incident, Random, Topology};

/// W3C trace flags (sampled), and whether it is known that the parent is in another process.
const LOCAL_PARENT: u32 = 0x101;
const REMOTE_PARENT: u32 = 0x301;

/// Slower than this is worth a warning in the log.
const SLOW_NS: u64 = 1_000_000_000;

const CARD_GATEWAY_TIMEOUT: &str = "card gateway did not answer in time";

/// A kind of request that a service answers.
#[derive(Debug)]
struct Route {
    role: Role,
    method: &'static str,
    path: &'static str,
    own_ms: f64,
    /// Operation and table of the one statement it runs.
    statement: Option<(&'static str, &'static str)>,
    call: Option<&'static Route>,
}

const fn route(role: Role, method: &'static str, path: &'static str, own_ms: f64) -> Route {
    Route { role, method, path, own_ms, statement: None, call: None }
}

impl Route {
    const fn running(self, operation: &'static str, table: &'static str) -> Self {
        Self { statement: Some((operation, table)), ..self }
    }

    const fn calling(self, call: &'static Route) -> Self {
        Self { call: Some(call), ..self }
    }
}

static CHARGE: Route =
    route(Role::Payments, "POST", super::incident::ROUTE, 14.0).running("INSERT", "payments");
static METHODS: Route = route(Role::Payments, "GET", "/methods", 3.0).running("SELECT", "cards");
static PLACE_ORDER: Route =
    route(Role::Checkout, "POST", "/orders", 7.0).running("INSERT", "orders").calling(&CHARGE);
static READ_ORDER: Route = route(Role::Checkout, "GET", "/orders/{id}", 4.0).running("SELECT", "orders");

/// What users ask the frontend for, and how often in fifteen requests.
static ENTRIES: [(Route, usize); 5] = [
    (route(Role::Frontend, "GET", "/", 5.0), 4),
    (route(Role::Frontend, "GET", "/products/{id}", 8.0), 4),
    (route(Role::Frontend, "POST", "/checkout", 9.0).calling(&PLACE_ORDER), 4),
    (route(Role::Frontend, "GET", "/orders/{id}", 5.0).calling(&READ_ORDER), 2),
    (route(Role::Frontend, "GET", "/account/cards", 4.0).calling(&METHODS), 1),
];

/// A request that a server span stands for, as its service's meters see it.
#[derive(Clone, Debug)]
pub(super) struct Served {
    pub(super) instance: usize,
    pub(super) method: &'static str,
    pub(super) route: &'static str,
    pub(super) status: i64,
    pub(super) start_ns: u64,
    pub(super) end_ns: u64,
    pub(super) trace_id: [u8; 16],
    pub(super) span_id: [u8; 8],
}

/// A statement run against the service's database.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    pub(super) instance: usize,
    pub(super) operation: &'static str,
    pub(super) table: &'static str,
    pub(super) end_ns: u64,
    pub(super) seconds: f64,
}

/// What transactions left behind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Activity {
    pub(crate) spans: Vec<Of<Span>>,
    pub(crate) logs: Vec<Of<LogRecord>>,
    pub(super) served: Vec<Served>,
    pub(super) statements: Vec<Statement>,
}

/// Where a call comes from.
#[derive(Clone, Copy, Debug)]
struct Caller {
    trace_id: [u8; 16],
    span_id: Option<[u8; 8]>,
    start_ns: u64,
}

/// What a service says about a request in its log.
struct Line {
    severity: SeverityNumber,
    body: Value,
    attributes: Vec<KeyValue>,
    event_name: &'static str,
}

impl Line {
    fn new(severity: SeverityNumber, body: String, attributes: Vec<KeyValue>) -> Self {
        Self { severity, body: Value::StringValue(body), attributes, event_name: "" }
    }
}

/// The source of transactions.
#[derive(Clone, Debug)]
pub(crate) struct Shop {
    topology: Topology,
    random: Random,
    /// Attributes of each span and log record, if a certain number is wanted.
    attributes: Option<usize>,
    incident: Option<Incident>,
    /// The user's request before, which a checkout links to.
    previous: Option<([u8; 16], [u8; 8])>,
}

impl Shop {
    pub(crate) fn new(
        topology: Topology,
        random: Random,
        attributes: Option<usize>,
        incident: Option<Incident>,
    ) -> Self {
        Self { topology, random, attributes, incident, previous: None }
    }

    pub(crate) fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Plays one user request that starts at `start_ns`.
    pub(crate) fn transaction(&mut self, start_ns: u64, activity: &mut Activity) {
        let total = ENTRIES.iter().map(|(_, weight)| weight).sum();
        let mut ticket = self.random.below(total);
        let mut entries = ENTRIES.iter();
        let entry = loop {
            let (route, weight) = entries.next().expect("the ticket is below the sum of all weights");
            match ticket.checked_sub(*weight) {
                Some(rest) => ticket = rest,
                None => break route,
            }
        };
        let group = self.random.below(self.topology.groups());
        let caller = Caller { trace_id: self.random.id(), span_id: None, start_ns };
        self.serve(group, entry, caller, activity);
    }

    /// Plays a request to one service, and those it makes itself. `None` if nobody plays that role.
    fn serve(
        &mut self,
        group: usize,
        route: &'static Route,
        caller: Caller,
        activity: &mut Activity,
    ) -> Option<Served> {
        let instance = self.topology.instance(group, route.role, &mut self.random)?;
        let span_id: [u8; 8] = self.random.id();
        let trace_id = caller.trace_id;
        let mut now_ns = caller.start_ns + self.random.latency_ns(route.own_ms / 2.0);
        let mut status = if route.method == "POST" { 201 } else { 200 };
        if self.random.chance(0.003) {
            status = 500;
        }

        if let Some((operation, table)) = route.statement {
            let from = Caller { trace_id, span_id: Some(span_id), start_ns: now_ns };
            now_ns = self.run_statement(instance, operation, table, from, activity);
        }
        let place = &self.topology.instances()[instance];
        let faulty = self.incident.is_some_and(|fault| fault.affects(place, route.path, caller.start_ns));
        if faulty {
            now_ns += self.random.latency_ns(1_900.0);
            if self.random.chance(0.4) {
                status = 504;
            }
        }
        if let Some(call) = route.call {
            let from = Caller { trace_id, span_id: Some(span_id), start_ns: now_ns };
            let (end_ns, answer) = self.call(group, instance, call, from, activity);
            now_ns = end_ns;
            if answer >= 500 {
                status = 502;
            }
        }
        now_ns += self.random.latency_ns(route.own_ms / 2.0);

        let served = Served {
            instance,
            method: route.method,
            route: route.path,
            status,
            start_ns: caller.start_ns,
            end_ns: now_ns,
            trace_id,
            span_id,
        };
        if let Some(line) = self.line(&served, faulty) {
            let record = self.record(&served, line);
            activity.logs.push((instance, record));
        }
        let span = self.server_span(&served, caller, faulty);
        activity.spans.push((instance, span));
        activity.served.push(served.clone());
        self.previous = Some((trace_id, span_id));
        Some(served)
    }

    /// The caller's side of a request: its client span, and the time and status it sees.
    fn call(
        &mut self,
        group: usize,
        instance: usize,
        route: &'static Route,
        from: Caller,
        activity: &mut Activity,
    ) -> (u64, i64) {
        let span_id: [u8; 8] = self.random.id();
        let sent_ns = from.start_ns + self.random.latency_ns(0.3);
        let caller = Caller { trace_id: from.trace_id, span_id: Some(span_id), start_ns: sent_ns };
        let Some(served) = self.serve(group, route, caller, activity) else { return (from.start_ns, 200) };
        let end_ns = served.end_ns + self.random.latency_ns(0.3);
        let server = self.topology.instances()[served.instance].service.clone();
        let span = Span {
            span_id: span_id.to_vec(),
            kind: SpanKind::Client.into(),
            name: route.method.to_owned(),
            end_time_unix_nano: end_ns,
            attributes: self.fit(vec![
                text("http.request.method", route.method),
                text("server.address", &server),
                whole("server.port", 8080),
                text("url.full", &format!("http://{server}:8080{}", route.path)),
                whole("http.response.status_code", served.status),
            ]),
            status: Some(status_of(served.status)),
            ..span_of(from)
        };
        activity.spans.push((instance, span));
        (end_ns, served.status)
    }

    fn run_statement(
        &mut self,
        instance: usize,
        operation: &'static str,
        table: &'static str,
        from: Caller,
        activity: &mut Activity,
    ) -> u64 {
        let duration_ns = self.random.latency_ns(if operation == "SELECT" { 1.6 } else { 3.2 });
        let end_ns = from.start_ns + duration_ns;
        let span = Span {
            span_id: self.random.id::<8>().to_vec(),
            kind: SpanKind::Client.into(),
            name: format!("{operation} {table}"),
            end_time_unix_nano: end_ns,
            attributes: self.fit(vec![
                text("db.system.name", "postgresql"),
                text("db.operation.name", operation),
                text("db.collection.name", table),
                text("db.namespace", "shop"),
                text("server.address", "postgres"),
            ]),
            ..span_of(from)
        };
        activity.spans.push((instance, span));
        let seconds = duration_ns as f64 / 1e9;
        activity.statements.push(Statement { instance, operation, table, end_ns, seconds });
        end_ns
    }

    fn server_span(&mut self, served: &Served, caller: Caller, faulty: bool) -> Span {
        let mut attributes = vec![
            text("http.request.method", served.method),
            text("http.route", served.route),
            whole("http.response.status_code", served.status),
            text("url.scheme", "http"),
            text("network.protocol.version", "1.1"),
            boolean("app.user.signed_in", self.random.chance(0.7)),
        ];
        if served.route == PLACE_ORDER.path {
            let items = (0..=self.random.below(3)).map(|_| {
                let sku = format!("sku-{:03}", self.random.below(200));
                AnyValue { value: Some(Value::StringValue(sku)) }
            });
            let items = ArrayValue { values: items.collect() };
            attributes.push(attribute("app.order.items", Value::ArrayValue(items)));
            attributes.push(float("app.order.total", self.price()));
        }
        let links = match (served.route, self.previous) {
            ("/checkout", Some((trace_id, span_id))) => vec![Link {
                trace_id: trace_id.to_vec(),
                span_id: span_id.to_vec(),
                trace_state: String::new(),
                attributes: vec![text("app.link", "page before")],
                dropped_attributes_count: 0,
                flags: LOCAL_PARENT,
            }],
            _ => Vec::new(),
        };
        let events = if served.status == 504 || (served.status == 500 && !faulty) {
            vec![exception(served)]
        } else {
            Vec::new()
        };
        Span {
            span_id: served.span_id.to_vec(),
            kind: SpanKind::Server.into(),
            name: format!("{} {}", served.method, served.route),
            end_time_unix_nano: served.end_ns,
            flags: if caller.span_id.is_some() { REMOTE_PARENT } else { LOCAL_PARENT },
            attributes: self.fit(attributes),
            events,
            links,
            status: Some(status_of(served.status)),
            ..span_of(caller)
        }
    }

    /// What a service of its kind would log about this request.
    fn line(&mut self, served: &Served, faulty: bool) -> Option<Line> {
        let millis = (served.end_ns - served.start_ns) / 1_000_000;
        let summary = format!("{} {} {} in {millis} ms", served.method, served.route, served.status);
        let route = text("http.route", served.route);
        if served.status >= 500 {
            let (reason, kind) = failure(served.status);
            let attributes = vec![route, text("exception.type", kind), text("exception.message", reason)];
            return Some(Line::new(SeverityNumber::Error, format!("{summary}: {reason}"), attributes));
        }
        if served.end_ns - served.start_ns > SLOW_NS {
            let cause = if faulty { "card gateway" } else { "downstream" };
            let attributes = vec![route, whole("app.elapsed_ms", millis as i64)];
            return Some(Line::new(
                SeverityNumber::Warn,
                format!("{summary}: waited for {cause}"),
                attributes,
            ));
        }
        if served.route == PLACE_ORDER.path {
            let order = format!("o-{:06}", self.random.below(1_000_000));
            let attributes = vec![text("app.order.id", &order), float("app.order.total", self.price())];
            let line = Line::new(SeverityNumber::Info, format!("order {order} placed"), attributes);
            return Some(Line { event_name: "order.placed", ..line });
        }
        if served.route == CHARGE.path {
            let amount = float("amount", self.price());
            let values = vec![text("message", "payment settled"), text("currency", "EUR"), amount];
            let body = Value::KvlistValue(KeyValueList { values });
            let line = Line::new(SeverityNumber::Info, String::new(), vec![route]);
            return Some(Line { body, ..line });
        }
        let worth_a_line = served.method == "GET" && self.random.chance(0.25);
        worth_a_line.then(|| Line::new(SeverityNumber::Debug, summary, vec![route]))
    }

    fn record(&mut self, served: &Served, line: Line) -> LogRecord {
        LogRecord {
            time_unix_nano: served.end_ns,
            observed_time_unix_nano: served.end_ns + self.random.latency_ns(0.2),
            severity_number: line.severity.into(),
            severity_text: line.severity.as_str_name().trim_start_matches("SEVERITY_NUMBER_").to_owned(),
            body: Some(AnyValue { value: Some(line.body) }),
            attributes: self.fit(line.attributes),
            dropped_attributes_count: 0,
            flags: 1,
            trace_id: served.trace_id.to_vec(),
            span_id: served.span_id.to_vec(),
            event_name: line.event_name.to_owned(),
        }
    }

    fn price(&mut self) -> f64 {
        (self.random.between(5.0, 250.0) * 100.0).round() / 100.0
    }

    fn fit(&self, attributes: Vec<KeyValue>) -> Vec<KeyValue> {
        with_count(attributes, self.attributes)
    }
}

/// What every span takes over from where it was called.
fn span_of(caller: Caller) -> Span {
    Span {
        trace_id: caller.trace_id.to_vec(),
        parent_span_id: caller.span_id.map(|id| id.to_vec()).unwrap_or_default(),
        start_time_unix_nano: caller.start_ns,
        flags: LOCAL_PARENT,
        ..Span::default()
    }
}

fn status_of(status: i64) -> Status {
    if status < 500 {
        return Status { message: String::new(), code: StatusCode::Unset.into() };
    }
    Status { message: failure(status).0.to_owned(), code: StatusCode::Error.into() }
}

/// Message and exception type of a failed request.
fn failure(status: i64) -> (&'static str, &'static str) {
    match status {
        504 => (CARD_GATEWAY_TIMEOUT, "java.net.SocketTimeoutException"),
        502 => ("the service behind failed", "UpstreamError"),
        _ => ("unexpected state", "IllegalStateException"),
    }
}

fn exception(served: &Served) -> Event {
    let (message, kind) = failure(served.status);
    Event {
        time_unix_nano: served.end_ns,
        name: "exception".to_owned(),
        attributes: vec![
            text("exception.type", kind),
            text("exception.message", message),
            text(
                "exception.stacktrace",
                &format!("{kind}: {message}\n\tat shop.Server.handle(Server.java:42)"),
            ),
        ],
        dropped_attributes_count: 0,
    }
}
