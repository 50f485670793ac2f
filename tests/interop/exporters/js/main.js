// The application of ../README.md for Node.js.

import { readFileSync } from 'node:fs';

import { ROOT_CONTEXT, TraceFlags, ValueType, createTraceState, trace } from '@opentelemetry/api';
import { AggregationTemporalityPreference } from '@opentelemetry/exporter-metrics-otlp-http';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BatchLogRecordProcessor, LoggerProvider } from '@opentelemetry/sdk-logs';
import { AggregationType, MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base';

const PACKAGES = { grpc: 'grpc', 'http/protobuf': 'proto', 'http/json': 'http' };
const kind = PACKAGES[process.env.OTEL_EXPORTER_OTLP_PROTOCOL];
const { OTLPTraceExporter } = await import(`@opentelemetry/exporter-trace-otlp-${kind}`);
const { OTLPMetricExporter } = await import(`@opentelemetry/exporter-metrics-otlp-${kind}`);
const { OTLPLogExporter } = await import(`@opentelemetry/exporter-logs-otlp-${kind}`);

const NEVER_MS = 2 ** 31 - 1;

const input = JSON.parse(readFileSync(0, 'utf8'));
const report = { spans: {}, points: [] };
let round = 0;

const contexts = await sendTraces(input.traces.resourceSpans[0]);
await sendLogs(input.logs.resourceLogs[0]);
await sendMetrics(input.traces.resourceSpans[0]);
process.stdout.write(JSON.stringify(report));

// An exporter that ends the application if an export fails.
function checked(exporter, look = () => {}) {
  const send = exporter.export.bind(exporter);
  exporter.export = (batch, done) => {
    look(batch);
    send(batch, (result) => {
      if (result.code !== 0) {
        console.error('an export failed:', result.error);
        process.exit(1);
      }
      done(result);
    });
  };
  return exporter;
}

async function sendTraces({ resource, schemaUrl, scopeSpans: [{ scope, schemaUrl: scopeSchemaUrl, spans }] }) {
  const provider = new BasicTracerProvider({
    resource: resourceFromAttributes(attributes(resource), { schemaUrl }),
    spanProcessors: [new BatchSpanProcessor(checked(new OTLPTraceExporter()))],
  });
  const tracer = provider.getTracer(scope.name, scope.version, { schemaUrl: scopeSchemaUrl });
  const remote = {
    traceId: input.remote.trace_id,
    spanId: input.remote.span_id,
    traceState: createTraceState(input.remote.trace_state),
    traceFlags: TraceFlags.SAMPLED,
    isRemote: true,
  };
  const made = new Map();
  const contextOf = (key) => made.get(key)?.spanContext() ?? remote;
  for (const span of spans) {
    const parent = span.parentSpanId ? trace.setSpanContext(ROOT_CONTEXT, contextOf(span.parentSpanId)) : ROOT_CONTEXT;
    const links = (span.links ?? []).map((link) => ({ context: contextOf(link.spanId), attributes: attributes(link) }));
    const startTime = time(span.startTimeUnixNano);
    // The API counts the kinds from 0.
    const options = { kind: span.kind - 1, startTime, attributes: attributes(span), links };
    const started = tracer.startSpan(span.name, options, parent);
    for (const event of span.events ?? []) {
      started.addEvent(event.name, attributes(event), time(event.timeUnixNano));
    }
    if (span.status) {
      started.setStatus({ code: span.status.code, message: span.status.message });
    }
    made.set(span.spanId, started);
    report.spans[span.spanId] = { traceId: started.spanContext().traceId, spanId: started.spanContext().spanId };
  }
  for (const span of spans) {
    made.get(span.spanId).end(time(span.endTimeUnixNano));
  }
  await provider.shutdown();
  return new Map([...made].map(([key, span]) => [key, trace.setSpan(ROOT_CONTEXT, span)]));
}

async function sendLogs({ resource, schemaUrl, scopeLogs: [{ scope, schemaUrl: scopeSchemaUrl, logRecords }] }) {
  const provider = new LoggerProvider({
    resource: resourceFromAttributes(attributes(resource), { schemaUrl }),
    processors: [new BatchLogRecordProcessor({ exporter: checked(new OTLPLogExporter()) })],
  });
  const options = { schemaUrl: scopeSchemaUrl, attributes: attributes(scope) };
  const logger = provider.getLogger(scope.name, scope.version, options);
  for (const record of logRecords) {
    logger.emit({
      timestamp: time(record.timeUnixNano),
      observedTimestamp: time(record.observedTimeUnixNano),
      severityNumber: record.severityNumber,
      severityText: record.severityText,
      eventName: record.eventName,
      body: anyValue(record.body),
      attributes: attributes(record),
      context: contexts.get(record.spanId) ?? ROOT_CONTEXT,
    });
  }
  await provider.shutdown();
}

async function sendMetrics({ resource, schemaUrl, scopeSpans: [{ scope, schemaUrl: scopeSchemaUrl }] }) {
  const readers = ['DELTA', 'CUMULATIVE'].map((temporality) => {
    const temporalityPreference = AggregationTemporalityPreference[temporality];
    const exporter = checked(new OTLPMetricExporter({ temporalityPreference }), (batch) => look(batch, temporality));
    return new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: NEVER_MS, exportTimeoutMillis: 30_000 });
  });
  const exponential = input.instruments.filter((instrument) => instrument.exponential);
  const provider = new MeterProvider({
    resource: resourceFromAttributes(attributes(resource), { schemaUrl }),
    readers,
    views: exponential.map(({ name: instrumentName }) => ({
      instrumentName,
      aggregation: { type: AggregationType.EXPONENTIAL_HISTOGRAM },
    })),
  });
  const meter = provider.getMeter(scope.name, scope.version, { schemaUrl: scopeSchemaUrl });
  const measuring = input.instruments.map((instrument) => measure(meter, instrument));
  const rounds = input.instruments[0].rounds.length;
  for (; round < rounds; round++) {
    measuring.forEach((measureRound) => measureRound());
    // The last collection is the one of the shutdown.
    await (round + 1 < rounds ? provider.forceFlush() : provider.shutdown());
  }
}

// Makes an instrument, and a function that makes the measurements of the round.
function measure(meter, { kind, name, number, unit, description, boundaries, rounds, sampled }) {
  const options = { unit, description, valueType: number === 'int' ? ValueType.INT : ValueType.DOUBLE };
  if (boundaries.length > 0) {
    options.advice = { explicitBucketBoundaries: boundaries };
  }
  const context = sampled ? contexts.values().next().value : ROOT_CONTEXT;
  const create = {
    counter: () => meter.createCounter(name, options),
    up_down_counter: () => meter.createUpDownCounter(name, options),
    gauge: () => meter.createGauge(name, options),
    histogram: () => meter.createHistogram(name, options),
    observable_counter: () => meter.createObservableCounter(name, options),
    observable_up_down_counter: () => meter.createObservableUpDownCounter(name, options),
    observable_gauge: () => meter.createObservableGauge(name, options),
  };
  const instrument = create[kind]();
  if (kind.startsWith('observable_')) {
    instrument.addCallback((result) => {
      rounds[round].forEach((measurement) => result.observe(measurement.value, attributes(measurement)));
    });
    return () => {};
  }
  const take = (instrument.add ?? instrument.record).bind(instrument);
  return () => rounds[round].forEach((measurement) => take(measurement.value, attributes(measurement), context));
}

function look({ scopeMetrics }, temporality) {
  for (const { descriptor, dataPoints } of scopeMetrics.flatMap(({ metrics }) => metrics)) {
    for (const point of dataPoints) {
      report.points.push({
        round,
        temporality: temporality.toLowerCase(),
        name: descriptor.name,
        case: point.attributes.case,
        start: nanoseconds(point.startTime),
        time: nanoseconds(point.endTime),
        exemplars: [],
      });
    }
  }
}

function attributes({ attributes: list }) {
  return Object.fromEntries((list ?? []).map(({ key, value }) => [key, anyValue(value)]));
}

function anyValue(value) {
  const [[type, content] = []] = Object.entries(value);
  switch (type) {
    case undefined:
      return null;
    case 'intValue':
    case 'doubleValue':
      // Also of the texts "NaN" and "-Infinity".
      return Number(content);
    case 'bytesValue':
      return new Uint8Array(Buffer.from(content, 'base64'));
    case 'arrayValue':
      return (content.values ?? []).map(anyValue);
    case 'kvlistValue':
      return attributes({ attributes: content.values });
    default:
      return content;
  }
}

function time(nanosecondsText) {
  return [Number(nanosecondsText.slice(0, -9)), Number(nanosecondsText.slice(-9))];
}

function nanoseconds([seconds, rest]) {
  return `${BigInt(seconds) * 1_000_000_000n + BigInt(rest)}`;
}
