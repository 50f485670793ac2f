// The application of ../../README.md for Go.
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"

	"go.opentelemetry.io/otel"
)

func main() {
	// The SDK only reports an export that fails.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Fatal(err) }))
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	input, err := readInput(os.Stdin)
	if err != nil {
		return err
	}
	report := report{Spans: map[string]spanIDs{}, Points: []point{}}
	contexts, err := sendTraces(ctx, input, &report)
	if err != nil {
		return err
	}
	if err := sendLogs(ctx, input, contexts); err != nil {
		return err
	}
	if err := sendMetrics(ctx, input, contexts, &report); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(report)
}

type report struct {
	Spans  map[string]spanIDs `json:"spans"`
	Points []point            `json:"points"`
}

type spanIDs struct {
	TraceID string `json:"traceId"`
	SpanID  string `json:"spanId"`
}

type point struct {
	Round       int        `json:"round"`
	Temporality string     `json:"temporality"`
	Name        string     `json:"name"`
	Case        string     `json:"case"`
	Start       string     `json:"start"`
	Time        string     `json:"time"`
	Exemplars   []exemplar `json:"exemplars"`
}

type exemplar struct {
	Time  string `json:"time"`
	Value any    `json:"value"`
	spanIDs
}
