// The driver of ../README.md for Go: ADBC's Flight SQL driver.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"maps"
	"os"
	"runtime/debug"
	"slices"
)

// request holds the arguments of every operation; each uses its own.
type request struct {
	Operation  string          `json:"operation"`
	Address    string          `json:"address"`
	Token      *string         `json:"token"`
	User       *string         `json:"user"`
	Password   *string         `json:"password"`
	Schema     string          `json:"schema"`
	Table      string          `json:"table"`
	SQL        string          `json:"sql"`
	Parameters json.RawMessage `json:"parameters"`
	Mode       string          `json:"mode"`
	Values     []int64         `json:"values"`
	Ending     string          `json:"ending"`
	Seconds    float64         `json:"seconds"`
	Name       string          `json:"name"`
	Value      string          `json:"value"`
	Times      int             `json:"times"`
}

var errNotOffered = errors.New("not offered")

var operations = map[string]func(*driver, context.Context, request) (any, error){
	"connect":     (*driver).connect,
	"info":        (*driver).info,
	"catalogs":    (*driver).catalogs,
	"schemas":     (*driver).schemas,
	"tables":      (*driver).tables,
	"table_types": (*driver).tableTypes,
	"columns":     (*driver).columns,
	"query":       (*driver).query,
	"shape":       (*driver).shape,
	"prepared":    (*driver).prepared,
	"again":       (*driver).again,
	"bound_rows":  (*driver).boundRows,
	"update":      (*driver).update,
	"update_rows": (*driver).updateRows,
	"ingest":      (*driver).ingest,
	"transaction": (*driver).transaction,
	"cancel":      (*driver).cancel,
	"deadline":    (*driver).deadline,
	"session":     (*driver).session,
	"partitions":  (*driver).partitions,
	"polled":      (*driver).polled,
	"concurrent":  (*driver).concurrent,
}

func main() {
	if err := run(context.Background(), bufio.NewReader(os.Stdin), json.NewEncoder(os.Stdout)); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, input *bufio.Reader, output *json.Encoder) error {
	output.SetEscapeHTML(false)
	var opened *driver
	for {
		line, err := input.ReadBytes('\n')
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		var asked request
		if err := json.Unmarshal(line, &asked); err != nil {
			return err
		}
		if asked.Operation == "open" {
			if opened, err = open(ctx, asked); err != nil {
				return err
			}
			err = output.Encode(map[string]any{"value": map[string]any{
				"version":    version(),
				"operations": slices.Sorted(maps.Keys(operations)),
			}})
		} else {
			err = output.Encode(answer(ctx, opened, asked))
		}
		if err != nil {
			return err
		}
	}
}

func answer(ctx context.Context, opened *driver, asked request) map[string]any {
	operation, known := operations[asked.Operation]
	if !known {
		return map[string]any{}
	}
	value, err := operation(opened, ctx, asked)
	switch {
	case errors.Is(err, errNotOffered):
		return map[string]any{}
	case err != nil:
		return map[string]any{"error": err.Error()}
	default:
		return map[string]any{"value": value}
	}
}

// version is that of the driver's module.
func version() string {
	built, _ := debug.ReadBuildInfo()
	for _, module := range built.Deps {
		if module.Path == "github.com/apache/arrow-adbc/go/adbc" {
			return module.Version[1:]
		}
	}
	return ""
}
