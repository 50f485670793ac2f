package main

import (
	"context"

	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
)

func logExporter(ctx context.Context) (sdklog.Exporter, error) {
	if isGRPC() {
		return otlploggrpc.New(ctx)
	}
	return otlploghttp.New(ctx)
}

func sendLogs(ctx context.Context, input *input, contexts *spanContexts) error {
	exporter, err := logExporter(ctx)
	if err != nil {
		return err
	}
	provider := sdklog.NewLoggerProvider(
		sdklog.WithProcessor(sdklog.NewBatchProcessor(exporter)),
		sdklog.WithResource(resourceOf(input.logs.Resource, input.logs.SchemaUrl)),
	)
	scopeLogs := input.logs.ScopeLogs[0]
	logger := provider.Logger(
		scopeLogs.Scope.Name,
		log.WithInstrumentationVersion(scopeLogs.Scope.Version),
		log.WithInstrumentationAttributes(attributesOf(scopeLogs.Scope.Attributes)...),
		log.WithSchemaURL(scopeLogs.SchemaUrl),
	)
	for _, message := range scopeLogs.LogRecords {
		var record log.Record
		record.SetTimestamp(timeOf(message.TimeUnixNano))
		record.SetObservedTimestamp(timeOf(message.ObservedTimeUnixNano))
		// The API counts the severities as OTLP does.
		record.SetSeverity(log.Severity(message.SeverityNumber))
		record.SetSeverityText(message.SeverityText)
		record.SetEventName(message.EventName)
		record.SetBody(valueOf(message.Body))
		record.AddAttributes(attributesOf(message.Attributes)...)
		logger.Emit(contexts.context(ctx, message.SpanId), record)
	}
	return provider.Shutdown(ctx)
}
