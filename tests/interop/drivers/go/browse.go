package main

import (
	"context"
	"fmt"

	"github.com/apache/arrow-adbc/go/adbc"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// rowsOf reads a table of metadata as objects by the names of its columns.
func rowsOf(reader array.RecordReader, err error) ([]map[string]any, error) {
	if err != nil {
		return nil, err
	}
	found, err := readAll(reader)
	var rows []map[string]any
	for _, row := range found.Rows {
		named := map[string]any{}
		for number, value := range row {
			named[found.Columns[number]] = value
		}
		rows = append(rows, named)
	}
	return rows, err
}

// each calls `use` for every object of a list inside of an object; a list that is missing has none.
func each(owner map[string]any, list string, use func(map[string]any)) {
	items, _ := owner[list].([]any)
	for _, item := range items {
		use(item.(map[string]any))
	}
}

func (d *driver) info(ctx context.Context, _ request) (any, error) {
	codes := []adbc.InfoCode{adbc.InfoVendorName, adbc.InfoVendorVersion}
	rows, err := rowsOf(d.connection.GetInfo(ctx, codes))
	if err != nil {
		return nil, err
	}
	found := make([]any, len(codes))
	for _, row := range rows {
		for number, code := range codes {
			if fmt.Sprint(row["info_name"]) == fmt.Sprint(uint32(code)) {
				found[number] = row["info_value"]
			}
		}
	}
	return found, nil
}

func (d *driver) objects(ctx context.Context, depth adbc.ObjectDepth, schema, table *string) ([]map[string]any, error) {
	return rowsOf(d.connection.GetObjects(ctx, depth, nil, schema, table, nil, nil))
}

func (d *driver) catalogs(ctx context.Context, _ request) (any, error) {
	rows, err := d.objects(ctx, adbc.ObjectDepthCatalogs, nil, nil)
	found := []any{}
	for _, row := range rows {
		found = append(found, row["catalog_name"])
	}
	return found, err
}

func (d *driver) schemas(ctx context.Context, _ request) (any, error) {
	rows, err := d.objects(ctx, adbc.ObjectDepthDBSchemas, nil, nil)
	found := []any{}
	for _, row := range rows {
		each(row, "catalog_db_schemas", func(schema map[string]any) {
			found = append(found, []any{row["catalog_name"], schema["db_schema_name"]})
		})
	}
	return found, err
}

func (d *driver) tables(ctx context.Context, asked request) (any, error) {
	rows, err := d.objects(ctx, adbc.ObjectDepthTables, &asked.Schema, nil)
	found := []any{}
	for _, row := range rows {
		each(row, "catalog_db_schemas", func(schema map[string]any) {
			each(schema, "db_schema_tables", func(table map[string]any) {
				found = append(found, []any{table["table_name"], table["table_type"]})
			})
		})
	}
	return found, err
}

func (d *driver) tableTypes(ctx context.Context, _ request) (any, error) {
	rows, err := rowsOf(d.connection.GetTableTypes(ctx))
	found := []any{}
	for _, row := range rows {
		found = append(found, row["table_type"])
	}
	return found, err
}

func (d *driver) columns(ctx context.Context, asked request) (any, error) {
	schema, err := d.connection.GetTableSchema(ctx, nil, nil, asked.Table)
	if err != nil {
		return nil, err
	}
	return columnNames(schema), nil
}
