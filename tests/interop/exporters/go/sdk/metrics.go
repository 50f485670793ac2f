package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/trace"
)

const never = 24 * time.Hour

// metricExporter takes down what it sends.
type metricExporter struct {
	sdkmetric.Exporter
	temporality string
	round       *int
	report      *report
}

func newMetricExporter(ctx context.Context, temporality string) (sdkmetric.Exporter, error) {
	selector := sdkmetric.CumulativeTemporalitySelector
	if temporality == "delta" {
		selector = sdkmetric.DeltaTemporalitySelector
	}
	if isGRPC() {
		return otlpmetricgrpc.New(ctx, otlpmetricgrpc.WithTemporalitySelector(selector))
	}
	return otlpmetrichttp.New(ctx, otlpmetrichttp.WithTemporalitySelector(selector))
}

func sendMetrics(ctx context.Context, input *input, contexts *spanContexts, report *report) error {
	round := 0
	options := []sdkmetric.Option{
		sdkmetric.WithResource(resourceOf(input.traces.Resource, input.traces.SchemaUrl)),
	}
	for _, temporality := range []string{"delta", "cumulative"} {
		exporter, err := newMetricExporter(ctx, temporality)
		if err != nil {
			return err
		}
		recording := &metricExporter{exporter, temporality, &round, report}
		reader := sdkmetric.NewPeriodicReader(recording, sdkmetric.WithInterval(never))
		options = append(options, sdkmetric.WithReader(reader))
	}
	for _, instrument := range input.instruments {
		if instrument.Exponential {
			aggregation := sdkmetric.AggregationBase2ExponentialHistogram{MaxSize: 160, MaxScale: 20}
			view := sdkmetric.NewView(sdkmetric.Instrument{Name: instrument.Name}, sdkmetric.Stream{Aggregation: aggregation})
			options = append(options, sdkmetric.WithView(view))
		}
	}
	provider := sdkmetric.NewMeterProvider(options...)
	scopeSpans := input.traces.ScopeSpans[0]
	meter := provider.Meter(
		scopeSpans.Scope.Name,
		metric.WithInstrumentationVersion(scopeSpans.Scope.Version),
		metric.WithInstrumentationAttributes(attributesOf(scopeSpans.Scope.Attributes)...),
		metric.WithSchemaURL(scopeSpans.SchemaUrl),
	)
	var measuring []func()
	for _, instrument := range input.instruments {
		context := ctx
		if instrument.Sampled {
			context = trace.ContextWithSpanContext(ctx, contexts.first)
		}
		measure, err := instrument.make(context, meter, &round)
		if err != nil {
			return err
		}
		measuring = append(measuring, measure)
	}
	rounds := len(input.instruments[0].Rounds)
	for ; round < rounds; round++ {
		for _, measure := range measuring {
			measure()
		}
		// The last collection is the one of the shutdown.
		collect := provider.ForceFlush
		if round+1 == rounds {
			collect = provider.Shutdown
		}
		if err := collect(ctx); err != nil {
			return err
		}
	}
	return nil
}

// make gives a function that makes the measurements of the round.
func (i instrument) make(ctx context.Context, meter metric.Meter, round *int) (func(), error) {
	if i.Number == "int" {
		return i.makeInt64(ctx, meter, round)
	}
	return i.makeFloat64(ctx, meter, round)
}

func (i instrument) makeInt64(ctx context.Context, meter metric.Meter, round *int) (func(), error) {
	unit, description := metric.WithUnit(i.Unit), metric.WithDescription(i.Description)
	callback := metric.WithInt64Callback(func(_ context.Context, observer metric.Int64Observer) error {
		for _, measured := range i.Rounds[*round] {
			observer.Observe(measured.int64(), metric.WithAttributeSet(measured.set()))
		}
		return nil
	})
	each := func(measure func(measurement, metric.MeasurementOption)) func() {
		return func() {
			for _, measured := range i.Rounds[*round] {
				measure(measured, metric.WithAttributeSet(measured.set()))
			}
		}
	}
	switch i.Kind {
	case "counter":
		made, err := meter.Int64Counter(i.Name, unit, description)
		return each(func(m measurement, set metric.MeasurementOption) { made.Add(ctx, m.int64(), set) }), err
	case "up_down_counter":
		made, err := meter.Int64UpDownCounter(i.Name, unit, description)
		return each(func(m measurement, set metric.MeasurementOption) { made.Add(ctx, m.int64(), set) }), err
	case "gauge":
		made, err := meter.Int64Gauge(i.Name, unit, description)
		return each(func(m measurement, set metric.MeasurementOption) { made.Record(ctx, m.int64(), set) }), err
	case "histogram":
		made, err := meter.Int64Histogram(
			i.Name, unit, description, metric.WithExplicitBucketBoundaries(i.Boundaries...),
		)
		return each(func(m measurement, set metric.MeasurementOption) { made.Record(ctx, m.int64(), set) }), err
	case "observable_up_down_counter":
		_, err := meter.Int64ObservableUpDownCounter(i.Name, unit, description, callback)
		return func() {}, err
	default:
		return nil, fmt.Errorf("no kind of instrument for int: %s", i.Kind)
	}
}

func (i instrument) makeFloat64(ctx context.Context, meter metric.Meter, round *int) (func(), error) {
	unit, description := metric.WithUnit(i.Unit), metric.WithDescription(i.Description)
	callback := metric.WithFloat64Callback(func(_ context.Context, observer metric.Float64Observer) error {
		for _, measured := range i.Rounds[*round] {
			observer.Observe(measured.float64(), metric.WithAttributeSet(measured.set()))
		}
		return nil
	})
	each := func(measure func(measurement, metric.MeasurementOption)) func() {
		return func() {
			for _, measured := range i.Rounds[*round] {
				measure(measured, metric.WithAttributeSet(measured.set()))
			}
		}
	}
	switch i.Kind {
	case "counter":
		made, err := meter.Float64Counter(i.Name, unit, description)
		return each(func(m measurement, set metric.MeasurementOption) { made.Add(ctx, m.float64(), set) }), err
	case "up_down_counter":
		made, err := meter.Float64UpDownCounter(i.Name, unit, description)
		return each(func(m measurement, set metric.MeasurementOption) { made.Add(ctx, m.float64(), set) }), err
	case "gauge":
		made, err := meter.Float64Gauge(i.Name, unit, description)
		return each(func(m measurement, set metric.MeasurementOption) { made.Record(ctx, m.float64(), set) }), err
	case "histogram":
		made, err := meter.Float64Histogram(
			i.Name, unit, description, metric.WithExplicitBucketBoundaries(i.Boundaries...),
		)
		return each(func(m measurement, set metric.MeasurementOption) { made.Record(ctx, m.float64(), set) }), err
	case "observable_counter":
		_, err := meter.Float64ObservableCounter(i.Name, unit, description, callback)
		return func() {}, err
	case "observable_gauge":
		_, err := meter.Float64ObservableGauge(i.Name, unit, description, callback)
		return func() {}, err
	default:
		return nil, fmt.Errorf("no kind of instrument for float: %s", i.Kind)
	}
}

func (m measurement) int64() int64 {
	number, err := strconv.ParseInt(m.Value.String(), 10, 64)
	if err != nil {
		panic(err)
	}
	return number
}

func (m measurement) float64() float64 {
	number, err := m.Value.Float64()
	if err != nil {
		panic(err)
	}
	return number
}

func (e *metricExporter) Export(ctx context.Context, metrics *metricdata.ResourceMetrics) error {
	if err := e.takeDown(metrics); err != nil {
		return err
	}
	return e.Exporter.Export(ctx, metrics)
}

// exported is what matters of the JSON form of a metric, which is the same for all kinds of points.
type exported struct {
	Name string
	Data struct {
		DataPoints []struct {
			Attributes []struct {
				Key   string
				Value struct{ Value any }
			}
			StartTime, Time time.Time
			Exemplars       []struct {
				Time            time.Time
				Value           any
				TraceID, SpanID []byte
			}
		}
	}
}

func (e *metricExporter) takeDown(metrics *metricdata.ResourceMetrics) error {
	text, err := json.Marshal(metrics.ScopeMetrics[0].Metrics)
	if err != nil {
		return err
	}
	var all []exported
	if err := json.Unmarshal(text, &all); err != nil {
		return err
	}
	for _, metric := range all {
		for _, from := range metric.Data.DataPoints {
			made := point{
				Round:       *e.round,
				Temporality: e.temporality,
				Name:        metric.Name,
				Start:       nanoseconds(from.StartTime),
				Time:        nanoseconds(from.Time),
				Exemplars:   []exemplar{},
			}
			for _, pair := range from.Attributes {
				if pair.Key == "case" {
					made.Case = pair.Value.Value.(string)
				}
			}
			for _, one := range from.Exemplars {
				ids := spanIDs{hex.EncodeToString(one.TraceID), hex.EncodeToString(one.SpanID)}
				made.Exemplars = append(made.Exemplars, exemplar{nanoseconds(one.Time), one.Value, ids})
			}
			e.report.Points = append(e.report.Points, made)
		}
	}
	return nil
}

func nanoseconds(t time.Time) string {
	if t.IsZero() {
		return "0"
	}
	return strconv.FormatInt(t.UnixNano(), 10)
}
