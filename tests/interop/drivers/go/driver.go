package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/apache/arrow-adbc/go/adbc"
	"github.com/apache/arrow-adbc/go/adbc/driver/flightsql"
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

const cancelAfter = 500 * time.Millisecond

type driver struct {
	address    string
	token      string
	connection adbc.Connection
}

func open(ctx context.Context, asked request) (*driver, error) {
	connection, err := connect(ctx, asked.Address, asked)
	if err != nil {
		return nil, err
	}
	return &driver{asked.Address, *asked.Token, connection}, nil
}

func connect(ctx context.Context, address string, credential request) (adbc.Connection, error) {
	options := map[string]string{adbc.OptionKeyURI: "grpc://" + address}
	if credential.Token != nil {
		options[flightsql.OptionAuthorizationHeader] = "Bearer " + *credential.Token
	}
	if credential.User != nil {
		options[adbc.OptionKeyUsername] = *credential.User
		options[adbc.OptionKeyPassword] = *credential.Password
	}
	database, err := flightsql.NewDriver(memory.DefaultAllocator).NewDatabase(options)
	if err != nil {
		return nil, err
	}
	return database.Open(ctx)
}

func (d *driver) connect(ctx context.Context, asked request) (any, error) {
	connection, err := connect(ctx, d.address, asked)
	if err != nil {
		return nil, err
	}
	return selectOne(ctx, connection)
}

func selectOne(ctx context.Context, connection adbc.Connection) (any, error) {
	rows, err := queryRows(ctx, connection, "SELECT 1")
	return only(rows.Rows, err)
}

func only(rows [][]any, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	if len(rows) != 1 || len(rows[0]) != 1 {
		return nil, fmt.Errorf("%d rows instead of one value", len(rows))
	}
	return rows[0][0], nil
}

// statement makes a statement of `sql` for as long as `use` takes.
func statement(connection adbc.Connection, sql string, use func(adbc.Statement) error) error {
	made, err := connection.NewStatement()
	if err != nil {
		return err
	}
	defer made.Close()
	if sql != "" {
		if err := made.SetSqlQuery(sql); err != nil {
			return err
		}
	}
	return use(made)
}

func queryRows(ctx context.Context, connection adbc.Connection, sql string) (found result, err error) {
	err = statement(connection, sql, func(made adbc.Statement) error {
		found, err = execute(ctx, made)
		return err
	})
	return found, err
}

func execute(ctx context.Context, made adbc.Statement) (result, error) {
	reader, _, err := made.ExecuteQuery(ctx)
	if err != nil {
		return result{}, err
	}
	return readAll(reader)
}

func (d *driver) query(ctx context.Context, asked request) (any, error) {
	return queryRows(ctx, d.connection, asked.SQL)
}

func (d *driver) shape(ctx context.Context, asked request) (names any, err error) {
	err = statement(d.connection, asked.SQL, func(made adbc.Statement) error {
		schema, err := made.(adbc.StatementExecuteSchema).ExecuteSchema(ctx)
		if err == nil {
			names = columnNames(schema)
		}
		return err
	})
	return names, err
}

func (d *driver) prepared(ctx context.Context, asked request) (any, error) {
	row, err := parameterRow(asked.Parameters)
	if err != nil {
		return nil, err
	}
	answers, err := d.run(ctx, asked.SQL, [][]parameter{row})
	if err != nil {
		return nil, err
	}
	return answers[0], nil
}

func (d *driver) again(ctx context.Context, asked request) (any, error) {
	rows, err := parameterRows(asked.Parameters)
	if err != nil {
		return nil, err
	}
	return d.run(ctx, asked.SQL, rows)
}

// run prepares once, and binds and executes for each row.
func (d *driver) run(ctx context.Context, sql string, rows [][]parameter) ([]result, error) {
	var answers []result
	err := d.prepare(ctx, sql, func(made adbc.Statement) error {
		for _, row := range rows {
			if err := bind(ctx, made, [][]parameter{row}); err != nil {
				return err
			}
			found, err := execute(ctx, made)
			if err != nil {
				return err
			}
			answers = append(answers, found)
		}
		return nil
	})
	return answers, err
}

func (d *driver) prepare(ctx context.Context, sql string, use func(adbc.Statement) error) error {
	return statement(d.connection, sql, func(made adbc.Statement) error {
		if err := made.Prepare(ctx); err != nil {
			return err
		}
		return use(made)
	})
}

func bind(ctx context.Context, made adbc.Statement, rows [][]parameter) error {
	batch, err := parameterBatch(rows)
	if err != nil {
		return err
	}
	return made.Bind(ctx, batch)
}

// withRows prepares a statement, binds its rows of parameters and hands it on.
func (d *driver) withRows(ctx context.Context, asked request, use func(adbc.Statement) error) error {
	rows, err := parameterRows(asked.Parameters)
	if err != nil {
		return err
	}
	return d.prepare(ctx, asked.SQL, func(made adbc.Statement) error {
		if err := bind(ctx, made, rows); err != nil {
			return err
		}
		return use(made)
	})
}

func (d *driver) boundRows(ctx context.Context, asked request) (found any, err error) {
	err = d.withRows(ctx, asked, func(made adbc.Statement) error {
		found, err = execute(ctx, made)
		return err
	})
	return found, err
}

func (d *driver) update(ctx context.Context, asked request) (count any, err error) {
	err = statement(d.connection, asked.SQL, func(made adbc.Statement) error {
		count, err = made.ExecuteUpdate(ctx)
		return err
	})
	return count, err
}

func (d *driver) updateRows(ctx context.Context, asked request) (count any, err error) {
	err = d.withRows(ctx, asked, func(made adbc.Statement) error {
		count, err = made.ExecuteUpdate(ctx)
		return err
	})
	return count, err
}

func (d *driver) ingest(ctx context.Context, asked request) (count any, err error) {
	err = statement(d.connection, "", func(made adbc.Statement) error {
		for key, value := range map[string]string{
			adbc.OptionKeyIngestTargetTable: asked.Table,
			adbc.OptionKeyIngestMode:        "adbc.ingest.mode." + asked.Mode,
		} {
			if err := made.SetOption(key, value); err != nil {
				return err
			}
		}
		if err := made.Bind(ctx, columnA(asked.Values)); err != nil {
			return err
		}
		count, err = made.ExecuteUpdate(ctx)
		return err
	})
	return count, err
}

func (d *driver) transaction(ctx context.Context, asked request) (any, error) {
	connection, err := connect(ctx, d.address, request{Token: &d.token})
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	options := connection.(adbc.PostInitOptions)
	if err := options.SetOption(adbc.OptionKeyAutoCommit, adbc.OptionValueDisabled); err != nil {
		return nil, err
	}
	value, err := selectOne(ctx, connection)
	if err != nil {
		return nil, err
	}
	if asked.Ending == "commit" {
		return value, connection.Commit(ctx)
	}
	return value, connection.Rollback(ctx)
}

func (d *driver) cancel(ctx context.Context, asked request) (any, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer time.AfterFunc(cancelAfter, cancel).Stop()
	_, err := queryRows(ctx, d.connection, asked.SQL)
	return endedBy(err, adbc.StatusCancelled, "cancelled")
}

func (d *driver) deadline(ctx context.Context, asked request) (any, error) {
	err := statement(d.connection, asked.SQL, func(made adbc.Statement) error {
		for _, key := range []string{flightsql.OptionTimeoutFetch, flightsql.OptionTimeoutQuery} {
			if err := made.SetOption(key, fmt.Sprint(asked.Seconds)); err != nil {
				return err
			}
		}
		_, err := execute(ctx, made)
		return err
	})
	return endedBy(err, adbc.StatusTimeout, "deadline")
}

func endedBy(err error, status adbc.Status, name string) (any, error) {
	var reported adbc.Error
	if errors.As(err, &reported) && reported.Code == status {
		return name, nil
	}
	return "ended by itself", err
}

func (d *driver) session(_ context.Context, asked request) (any, error) {
	options := d.connection.(adbc.GetSetOptions)
	key := flightsql.OptionSessionOptionPrefix + asked.Name
	if err := d.connection.(adbc.PostInitOptions).SetOption(key, asked.Value); err != nil {
		return nil, err
	}
	return options.GetOption(key)
}

func (d *driver) partitions(ctx context.Context, asked request) (found any, err error) {
	err = statement(d.connection, asked.SQL, func(made adbc.Statement) error {
		_, parts, _, err := made.ExecutePartitions(ctx)
		if err != nil {
			return err
		}
		found, err = d.readParts(ctx, result{}, parts)
		return err
	})
	return found, err
}

func (d *driver) polled(ctx context.Context, asked request) (any, error) {
	var found result
	err := statement(d.connection, asked.SQL, func(made adbc.Statement) error {
		if err := made.SetOption(adbc.OptionKeyIncremental, adbc.OptionValueEnabled); err != nil {
			return err
		}
		for {
			_, parts, _, err := made.ExecutePartitions(ctx)
			if err != nil || parts.NumPartitions == 0 {
				return err
			}
			if found, err = d.readParts(ctx, found, parts); err != nil {
				return err
			}
		}
	})
	return found, err
}

func (d *driver) readParts(ctx context.Context, found result, parts adbc.Partitions) (result, error) {
	for _, part := range parts.PartitionIDs {
		reader, err := d.connection.ReadPartition(ctx, part)
		if err != nil {
			return found, err
		}
		more, err := readAll(reader)
		if err != nil {
			return found, err
		}
		found.Columns = more.Columns
		found.Rows = append(found.Rows, more.Rows...)
	}
	return found, nil
}

func (d *driver) concurrent(ctx context.Context, asked request) (any, error) {
	found := make([]any, asked.Times)
	failures := make([]error, asked.Times)
	var all sync.WaitGroup
	for number := range asked.Times {
		all.Go(func() {
			rows, err := queryRows(ctx, d.connection, strings.ReplaceAll(asked.SQL, "{}", fmt.Sprint(number)))
			found[number], failures[number] = only(rows.Rows, err)
		})
	}
	all.Wait()
	return found, errors.Join(failures...)
}

func columnNames(schema *arrow.Schema) []string {
	names := make([]string, schema.NumFields())
	for number, field := range schema.Fields() {
		names[number] = field.Name
	}
	return names
}

func columnA(values []int64) arrow.RecordBatch {
	builder := array.NewInt64Builder(memory.DefaultAllocator)
	builder.AppendValues(values, nil)
	schema := arrow.NewSchema([]arrow.Field{{Name: "a", Type: arrow.PrimitiveTypes.Int64, Nullable: true}}, nil)
	return array.NewRecordBatch(schema, []arrow.Array{builder.NewArray()}, int64(len(values)))
}
