package record

import (
	"fmt"
	"strings"
	"testing"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
)

// A record keeps the first warnings and values, and counts the other warnings.
func TestRecordedWarningsAreFew(t *testing.T) {
	var warnings []string
	var values []v1alpha1.UnpinnedValue
	for i := range 100 {
		warnings = append(warnings, fmt.Sprint(i)+strings.Repeat("é", 1000))
		values = append(values, v1alpha1.UnpinnedValue{Path: fmt.Sprint("data.", i), Reference: "r.io/a:1"}, v1alpha1.UnpinnedValue{Path: strings.Repeat("x", 1000)})
	}
	kept := recordedWarnings(warnings)
	if len(kept) != mostWarnings+1 || len(kept[0]) > longestWarning || !strings.HasPrefix(kept[mostWarnings], "and 80 more") {
		t.Errorf("kept %d warnings, the last one %q", len(kept), kept[len(kept)-1])
	}
	if kept := recordedUnpinned(values); len(kept) != mostUnpinned || kept[19].Path != "data.19" {
		t.Errorf("kept %d values: %v", len(kept), kept)
	}
	if recordedWarnings(nil) != nil || recordedUnpinned(nil) != nil {
		t.Error("nothing becomes an empty list, which compares otherwise than what a record holds")
	}
}
