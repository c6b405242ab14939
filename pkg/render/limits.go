package render

import (
	"cmp"
	"fmt"
)

// Limits bound the input and the result of a build, so that one overlay cannot take the memory and the time of the others.
// A zero value of one is its default, which real repositories do not meet.
type Limits struct {
	FileBytes   int64 // of one file
	Files       int64 // that one build reads
	Bytes       int64 // of these files
	Aliases     int64 // values that the aliases of a YAML document expand to
	Nesting     int64 // levels of maps and lists in a YAML document
	Objects     int64 // of an overlay
	ObjectBytes int64 // of one object, as JSON
	SetBytes    int64 // of all objects, as JSON
	ErrorBytes  int64 // of the text of an error
}

// OrDefaults returns the limits with the defaults for those that are zero.
func (l Limits) OrDefaults() Limits {
	return Limits{
		FileBytes:   cmp.Or(l.FileBytes, 16<<20),
		Files:       cmp.Or(l.Files, 10_000),
		Bytes:       cmp.Or(l.Bytes, 64<<20),
		Aliases:     cmp.Or(l.Aliases, 100_000),
		Nesting:     cmp.Or(l.Nesting, 200),
		Objects:     cmp.Or(l.Objects, 10_000),
		ObjectBytes: cmp.Or(l.ObjectBytes, 1536<<10-addedByApply),
		SetBytes:    cmp.Or(l.SetBytes, 64<<20),
		ErrorBytes:  cmp.Or(l.ErrorBytes, 2<<10),
	}
}

// addedByApply is room for the labels and annotations that syncer adds to an object. etcd refuses a request of 1.5 MiB.
const addedByApply = 8 << 10

// Limited says that a build went over a limit.
type Limited struct {
	Place   string // a file with its line, or an object; "": the overlay
	What    string // with its amount: "it has 20 MiB"
	Setting string // that raises the limit
	Limit   string
}

func (e *Limited) Error() string {
	place := e.Place
	if place != "" {
		place += ": "
	}
	return fmt.Sprintf("%s%s, and the limit is %s; if that is meant, raise %s in syncer.yaml", place, e.What, e.Limit, e.Setting)
}

// Bytes writes a number of bytes as the configuration does.
func Bytes(n int64) string {
	for _, unit := range []struct {
		name string
		size int64
	}{{"Gi", 1 << 30}, {"Mi", 1 << 20}, {"Ki", 1 << 10}} {
		if n >= unit.size && n%unit.size == 0 {
			return fmt.Sprintf("%d%s", n/unit.size, unit.name)
		}
		if n >= 10*unit.size {
			return fmt.Sprintf("%.1f%s", float64(n)/float64(unit.size), unit.name)
		}
	}
	return fmt.Sprint(n)
}
