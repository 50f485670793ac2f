package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

type result struct {
	Columns []string `json:"columns"`
	Rows    [][]any  `json:"rows"`
}

func tagged(tag string, value any) map[string]any {
	return map[string]any{"$" + tag: value}
}

func readAll(reader array.RecordReader) (result, error) {
	defer reader.Release()
	found := result{columnNames(reader.Schema()), [][]any{}}
	for reader.Next() {
		batch := reader.RecordBatch()
		for row := range int(batch.NumRows()) {
			values := make([]any, batch.NumCols())
			for number, column := range batch.Columns() {
				values[number] = valueOf(column, row)
			}
			found.Rows = append(found.Rows, values)
		}
	}
	return found, reader.Err()
}

// valueOf is one value in the form of ../README.md.
func valueOf(column arrow.Array, row int) any {
	if column.IsNull(row) {
		return nil
	}
	switch column := column.(type) {
	case *array.Binary:
		return tagged("bytes", hex.EncodeToString(column.Value(row)))
	case *array.LargeBinary:
		return tagged("bytes", hex.EncodeToString(column.Value(row)))
	case *array.BinaryView:
		return tagged("bytes", hex.EncodeToString(column.Value(row)))
	case *array.FixedSizeBinary:
		return tagged("bytes", hex.EncodeToString(column.Value(row)))
	case *array.Timestamp:
		unit := column.DataType().(*arrow.TimestampType).Unit
		return tagged("timestamp", momentText(column.Value(row).ToTime(unit), "2006-01-02T15:04:05"))
	case *array.Date32:
		return tagged("date", column.Value(row).ToTime().Format(time.DateOnly))
	case *array.Date64:
		return tagged("date", column.Value(row).ToTime().Format(time.DateOnly))
	case *array.Time32:
		unit := column.DataType().(*arrow.Time32Type).Unit
		return tagged("time", momentText(column.Value(row).ToTime(unit), time.TimeOnly))
	case *array.Time64:
		unit := column.DataType().(*arrow.Time64Type).Unit
		return tagged("time", momentText(column.Value(row).ToTime(unit), time.TimeOnly))
	case *array.Duration:
		unit := column.DataType().(*arrow.DurationType).Unit
		return tagged("duration", int64(column.Value(row))*int64(unit.Multiplier()))
	case *array.MonthDayNanoInterval:
		value := column.Value(row)
		return tagged("interval", []int64{int64(value.Months), int64(value.Days), value.Nanoseconds})
	case *array.Decimal32, *array.Decimal64, *array.Decimal128, *array.Decimal256:
		return tagged("decimal", column.ValueStr(row))
	case *array.Float16:
		return column.Value(row).Float32()
	case *array.Dictionary:
		return valueOf(column.Dictionary(), column.GetValueIndex(row))
	case *array.RunEndEncoded:
		return valueOf(column.Values(), column.GetPhysicalIndex(row))
	case *array.Map:
		return mapOf(column, row)
	case array.ListLike:
		start, end := column.ValueOffsets(row)
		values := []any{}
		for item := start; item < end; item++ {
			values = append(values, valueOf(column.ListValues(), int(item)))
		}
		return values
	case *array.Struct:
		values := map[string]any{}
		for number, field := range column.DataType().(*arrow.StructType).Fields() {
			values[field.Name] = valueOf(column.Field(number), row)
		}
		return values
	case *array.DenseUnion:
		return valueOf(column.Field(column.ChildID(row)), int(column.ValueOffset(row)))
	default:
		return column.GetOneForMarshal(row)
	}
}

func mapOf(column *array.Map, row int) any {
	start, end := column.ValueOffsets(row)
	values := map[string]any{}
	for item := start; item < end; item++ {
		values[fmt.Sprint(valueOf(column.Keys(), int(item)))] = valueOf(column.Items(), int(item))
	}
	return values
}

func momentText(moment time.Time, layout string) string {
	text := moment.UTC().Format(layout)
	if moment.Nanosecond() == 0 {
		return text
	}
	return text + "." + strings.TrimRight(fmt.Sprintf("%09d", moment.Nanosecond()), "0")
}

// parameter is `[kind, value]`; a null leaves the value empty.
type parameter struct {
	kind  string
	value json.RawMessage
}

func (p *parameter) UnmarshalJSON(text []byte) error {
	return json.Unmarshal(text, &[]any{&p.kind, &p.value})
}

func parameterRow(text json.RawMessage) (row []parameter, err error) {
	return row, json.Unmarshal(text, &row)
}

func parameterRows(text json.RawMessage) (rows [][]parameter, err error) {
	return rows, json.Unmarshal(text, &rows)
}

var parameterTypes = map[string]arrow.DataType{
	"int8":      arrow.PrimitiveTypes.Int8,
	"int16":     arrow.PrimitiveTypes.Int16,
	"int32":     arrow.PrimitiveTypes.Int32,
	"int64":     arrow.PrimitiveTypes.Int64,
	"float32":   arrow.PrimitiveTypes.Float32,
	"float64":   arrow.PrimitiveTypes.Float64,
	"decimal":   &arrow.Decimal128Type{Precision: 10, Scale: 2},
	"text":      arrow.BinaryTypes.String,
	"bool":      arrow.FixedWidthTypes.Boolean,
	"bytes":     arrow.BinaryTypes.Binary,
	"date":      arrow.FixedWidthTypes.Date32,
	"time":      arrow.FixedWidthTypes.Time64us,
	"timestamp": &arrow.TimestampType{Unit: arrow.Microsecond},
	"null":      arrow.Null,
}

func parameterBatch(rows [][]parameter) (arrow.RecordBatch, error) {
	fields := make([]arrow.Field, len(rows[0]))
	for number, first := range rows[0] {
		fields[number] = arrow.Field{Name: fmt.Sprint(number), Type: parameterTypes[first.kind], Nullable: true}
	}
	builder := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema(fields, nil))
	for _, row := range rows {
		for number, given := range row {
			if err := appendParameter(builder.Field(number), given); err != nil {
				return nil, err
			}
		}
	}
	return builder.NewRecordBatch(), nil
}

func appendParameter(builder array.Builder, given parameter) error {
	if len(given.value) == 0 {
		builder.AppendNull()
		return nil
	}
	var content map[string]string
	if json.Unmarshal(given.value, &content) != nil {
		// A number, a text or a truth value, as Arrow's own JSON has them: a list of values to append.
		return builder.UnmarshalJSON([]byte("[" + string(given.value) + "]"))
	}
	for tag, text := range content {
		switch builder := builder.(type) {
		case *array.BinaryBuilder:
			data, err := hex.DecodeString(text)
			builder.Append(data)
			return err
		case *array.Decimal128Builder:
			number, err := decimal128.FromString(text, 10, 2)
			builder.Append(number)
			return err
		default:
			if err := builder.AppendValueFromString(text); err != nil {
				return fmt.Errorf("%s %q: %w", tag, text, err)
			}
		}
	}
	return nil
}
