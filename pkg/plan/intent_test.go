package plan

import (
	"fmt"
	"strings"
	"testing"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// The annotation fits, with the others, into the 256 KiB that the API server allows, for any number of runs in a commit.
func TestIntentsOfVeryManyRuns(t *testing.T) {
	for _, runs := range []int{1, 10, 4000} {
		var intents []string
		of := func(i int) string {
			id := manifest.ID{APIVersion: "batch/v1", Kind: "Job", Namespace: "data", Name: fmt.Sprintf("%s-%d", strings.Repeat("n", 200), i)}
			return intent(id, "sha256:"+strings.Repeat("a", 64))
		}
		for i := range runs {
			text := of(i)
			if i%2 == 1 {
				text += "@6dc5e9c4-8d8e-4a86-8d8c-0a9fd2c5cb0d"
			}
			intents = append(intents, text)
		}
		annotation := joinIntents(intents)
		if len(annotation) > 200<<10 {
			t.Errorf("%d runs: %d KiB", runs, len(annotation)>>10)
		}
		for i := range min(runs, 10) {
			replaced, ok := intended(annotation, of(i))
			if !ok || (replaced != "") != (i%2 == 1) {
				t.Errorf("%d runs: run %d: %q, %t", runs, i, replaced, ok)
			}
		}
		if _, ok := intended(annotation, of(runs)); ok {
			t.Errorf("%d runs: one that was not to be created is found", runs)
		}
	}
	if _, ok := intended("", "Job.batch/data/a=sha256:1"); ok {
		t.Error("something is found in no annotation")
	}
}
