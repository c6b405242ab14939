package pipeline

import (
	"fmt"
	"strings"
	"testing"

	"github.com/syncerdev/syncer/pkg/image"
)

// A record keeps some warnings and some suspects, and says how many warnings it leaves out.
func TestRecordedWarningsAreFew(t *testing.T) {
	var warnings []string
	var suspects []image.Suspect
	for i := range 100 {
		warnings = append(warnings, fmt.Sprint(i)+strings.Repeat("é", 1000))
		suspects = append(suspects, image.Suspect{Path: fmt.Sprint("data.", i), Value: "r.io/a:1"}, image.Suspect{Path: strings.Repeat("x", 1000)})
	}
	kept := recordedWarnings(warnings)
	if len(kept) != maxWarnings+1 || len(kept[0]) > maxWarning || !strings.HasPrefix(kept[maxWarnings], "and 80 more") {
		t.Errorf("kept %d warnings, the last one %q", len(kept), kept[len(kept)-1])
	}
	if kept := recordedUnpinned(suspects); len(kept) != maxUnpinned || kept[19].Path != "data.19" {
		t.Errorf("kept %d suspects: %v", len(kept), kept)
	}
	if recordedWarnings(nil) != nil || recordedUnpinned(nil) != nil {
		t.Error("nothing becomes an empty list, which compares otherwise than what a record holds")
	}
}
