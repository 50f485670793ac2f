package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

type input struct {
	remote      remote
	traces      *tracepb.ResourceSpans
	logs        *logspb.ResourceLogs
	instruments []instrument
}

type remote struct {
	TraceID    string `json:"trace_id"`
	SpanID     string `json:"span_id"`
	TraceState string `json:"trace_state"`
}

type instrument struct {
	Name        string          `json:"name"`
	Kind        string          `json:"kind"`
	Number      string          `json:"number"`
	Unit        string          `json:"unit"`
	Description string          `json:"description"`
	Boundaries  []float64       `json:"boundaries"`
	Exponential bool            `json:"exponential"`
	Sampled     bool            `json:"sampled"`
	Rounds      [][]measurement `json:"rounds"`
}

type measurement struct {
	Value      json.Number `json:"value"`
	Attributes []keyValue  `json:"attributes"`
}

type keyValue struct {
	attribute.KeyValue
}

func (pair *keyValue) UnmarshalJSON(text []byte) error {
	var message commonpb.KeyValue
	if err := protojson.Unmarshal(text, &message); err != nil {
		return err
	}
	pair.KeyValue = keyValueOf(&message)
	return nil
}

func (m measurement) set() attribute.Set {
	pairs := make([]attribute.KeyValue, len(m.Attributes))
	for i, pair := range m.Attributes {
		pairs[i] = pair.KeyValue
	}
	return attribute.NewSet(pairs...)
}

func readInput(reader io.Reader) (*input, error) {
	var parts struct {
		Remote      remote          `json:"remote"`
		Traces      json.RawMessage `json:"traces"`
		Logs        json.RawMessage `json:"logs"`
		Instruments []instrument    `json:"instruments"`
	}
	if err := json.NewDecoder(reader).Decode(&parts); err != nil {
		return nil, err
	}
	var traces tracepb.TracesData
	var logs logspb.LogsData
	for text, message := range map[*json.RawMessage]proto.Message{&parts.Traces: &traces, &parts.Logs: &logs} {
		if err := protojson.Unmarshal(*text, message); err != nil {
			return nil, err
		}
	}
	return &input{parts.Remote, traces.ResourceSpans[0], logs.ResourceLogs[0], parts.Instruments}, nil
}

func resourceOf(message *resourcepb.Resource, schemaURL string) *resource.Resource {
	return resource.NewWithAttributes(schemaURL, attributesOf(message.Attributes)...)
}

func attributesOf(messages []*commonpb.KeyValue) []attribute.KeyValue {
	pairs := make([]attribute.KeyValue, len(messages))
	for i, message := range messages {
		pairs[i] = keyValueOf(message)
	}
	return pairs
}

func keyValueOf(message *commonpb.KeyValue) attribute.KeyValue {
	return attribute.KeyValue{Key: attribute.Key(message.Key), Value: valueOf(message.Value)}
}

func valueOf(message *commonpb.AnyValue) attribute.Value {
	switch value := message.GetValue().(type) {
	case nil:
		return attribute.Value{}
	case *commonpb.AnyValue_StringValue:
		return attribute.StringValue(value.StringValue)
	case *commonpb.AnyValue_BoolValue:
		return attribute.BoolValue(value.BoolValue)
	case *commonpb.AnyValue_IntValue:
		return attribute.Int64Value(value.IntValue)
	case *commonpb.AnyValue_DoubleValue:
		return attribute.Float64Value(value.DoubleValue)
	case *commonpb.AnyValue_BytesValue:
		return attribute.ByteSliceValue(value.BytesValue)
	case *commonpb.AnyValue_ArrayValue:
		return arrayOf(value.ArrayValue.Values)
	case *commonpb.AnyValue_KvlistValue:
		return attribute.MapValue(attributesOf(value.KvlistValue.Values)...)
	default:
		panic(fmt.Sprintf("a value of type %T", value))
	}
}

// An array of one type is made as applications make it.
func arrayOf(messages []*commonpb.AnyValue) attribute.Value {
	values := make([]attribute.Value, len(messages))
	types := map[attribute.Type]bool{}
	for i, message := range messages {
		values[i] = valueOf(message)
		types[values[i].Type()] = true
	}
	switch {
	case len(types) != 1:
		return attribute.SliceValue(values...)
	case types[attribute.STRING]:
		return attribute.StringSliceValue(convert(values, attribute.Value.AsString))
	case types[attribute.BOOL]:
		return attribute.BoolSliceValue(convert(values, attribute.Value.AsBool))
	case types[attribute.INT64]:
		return attribute.Int64SliceValue(convert(values, attribute.Value.AsInt64))
	case types[attribute.FLOAT64]:
		return attribute.Float64SliceValue(convert(values, attribute.Value.AsFloat64))
	default:
		return attribute.SliceValue(values...)
	}
}

func convert[T any](values []attribute.Value, each func(attribute.Value) T) []T {
	converted := make([]T, len(values))
	for i, value := range values {
		converted[i] = each(value)
	}
	return converted
}

func timeOf(nanoseconds uint64) time.Time {
	return time.Unix(0, int64(nanoseconds))
}

func isGRPC() bool {
	return os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL") == "grpc"
}
