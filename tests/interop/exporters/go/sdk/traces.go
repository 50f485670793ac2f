package main

import (
	"context"
	"encoding/base64"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
)

// spanContexts has the context of each span by its key.
type spanContexts struct {
	remote trace.SpanContext
	byKey  map[string]trace.SpanContext
	first  trace.SpanContext
}

// context with the span of a key: the remote one if there is no such span, none if there is no key.
func (contexts *spanContexts) context(ctx context.Context, key []byte) context.Context {
	if len(key) == 0 {
		return ctx
	}
	return trace.ContextWithSpanContext(ctx, contexts.of(key))
}

func (contexts *spanContexts) of(key []byte) trace.SpanContext {
	if found, ok := contexts.byKey[string(key)]; ok {
		return found
	}
	return contexts.remote
}

func newSpanContexts(from remote) (*spanContexts, error) {
	traceID, err := trace.TraceIDFromHex(from.TraceID)
	if err != nil {
		return nil, err
	}
	spanID, err := trace.SpanIDFromHex(from.SpanID)
	if err != nil {
		return nil, err
	}
	state, err := trace.ParseTraceState(from.TraceState)
	if err != nil {
		return nil, err
	}
	config := trace.SpanContextConfig{
		TraceID: traceID, SpanID: spanID, TraceState: state, TraceFlags: trace.FlagsSampled, Remote: true,
	}
	return &spanContexts{remote: trace.NewSpanContext(config), byKey: map[string]trace.SpanContext{}}, nil
}

func traceExporter(ctx context.Context) (*otlptrace.Exporter, error) {
	if isGRPC() {
		return otlptracegrpc.New(ctx)
	}
	return otlptracehttp.New(ctx)
}

func sendTraces(ctx context.Context, input *input, report *report) (*spanContexts, error) {
	exporter, err := traceExporter(ctx)
	if err != nil {
		return nil, err
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter),
		sdktrace.WithResource(resourceOf(input.traces.Resource, input.traces.SchemaUrl)),
	)
	contexts, err := newSpanContexts(input.remote)
	if err != nil {
		return nil, err
	}
	scopeSpans := input.traces.ScopeSpans[0]
	tracer := provider.Tracer(
		scopeSpans.Scope.Name,
		trace.WithInstrumentationVersion(scopeSpans.Scope.Version),
		trace.WithInstrumentationAttributes(attributesOf(scopeSpans.Scope.Attributes)...),
		trace.WithSchemaURL(scopeSpans.SchemaUrl),
	)
	ends := make([]func(), len(scopeSpans.Spans))
	for i, message := range scopeSpans.Spans {
		span := start(ctx, tracer, contexts, message)
		ends[i] = func() { span.End(trace.WithTimestamp(timeOf(message.EndTimeUnixNano))) }
		made := span.SpanContext()
		contexts.byKey[string(message.SpanId)] = made
		key := base64.StdEncoding.EncodeToString(message.SpanId)
		report.Spans[key] = spanIDs{made.TraceID().String(), made.SpanID().String()}
		if i == 0 {
			contexts.first = made
		}
	}
	for _, end := range ends {
		end()
	}
	return contexts, provider.Shutdown(ctx)
}

func start(ctx context.Context, tracer trace.Tracer, contexts *spanContexts, message *tracepb.Span) trace.Span {
	links := make([]trace.Link, len(message.Links))
	for i, link := range message.Links {
		links[i] = trace.Link{SpanContext: contexts.of(link.SpanId), Attributes: attributesOf(link.Attributes)}
	}
	_, span := tracer.Start(
		contexts.context(ctx, message.ParentSpanId),
		message.Name,
		// The API counts the kinds as OTLP does.
		trace.WithSpanKind(trace.SpanKind(message.Kind)),
		trace.WithTimestamp(timeOf(message.StartTimeUnixNano)),
		trace.WithAttributes(attributesOf(message.Attributes)...),
		trace.WithLinks(links...),
	)
	for _, event := range message.Events {
		attributes := trace.WithAttributes(attributesOf(event.Attributes)...)
		span.AddEvent(event.Name, attributes, trace.WithTimestamp(timeOf(event.TimeUnixNano)))
	}
	switch message.GetStatus().GetCode() {
	case tracepb.Status_STATUS_CODE_OK:
		span.SetStatus(codes.Ok, "")
	case tracepb.Status_STATUS_CODE_ERROR:
		span.SetStatus(codes.Error, message.Status.Message)
	}
	return span
}
