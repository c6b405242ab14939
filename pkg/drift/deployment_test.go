package drift

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
)

func TestDeploymentsOfARecord(t *testing.T) {
	at := time.Date(2030, 1, 2, 13, 0, 0, 0, time.FixedZone("CET", 3600))
	got := DeploymentsOf([]v1alpha1.Deployment{
		{Number: 2, Commit: "c", Author: "A <a@b>", Subject: "s", Time: metav1.NewTime(at), Outcome: "Applied", RollbackOf: 1, HealthyAt: &metav1.Time{Time: at}, AllowedBy: "B",
			Images: []v1alpha1.DeployedImage{{Reference: "r", Tag: "v1", Digest: "sha256:d"}}},
		{Number: 1, Commit: "c", Author: "A <a@b>", Subject: "s", Time: metav1.NewTime(at), Outcome: "Failed"},
	})
	if got[0].Images[0] != (Image{Reference: "r", Tag: "v1", Digest: "sha256:d"}) || got[0].HealthyAt.Location() != time.UTC {
		t.Errorf("the deployment is %+v", got[0])
	}
	const first = `"number":2,"commit":"c","author":"A <a@b>","subject":"s","time":"2030-01-02T12:00:00Z","outcome":"Applied"`
	const second = `"number":1,"commit":"c","author":"A <a@b>","subject":"s","time":"2030-01-02T12:00:00Z","outcome":"Failed"`
	for name, c := range map[string]struct {
		value any
		want  string
	}{
		"a report": {got, `[{` + first + `,"rollbackOf":1},{` + second + `,"rollbackOf":0}]`},
		"a history": {[]Deployment(got), `[{` + first + `,"images":[{"reference":"r","digest":"sha256:d"}],"rollbackOf":1,"healthyAt":"2030-01-02T12:00:00Z","allowedBy":"B"},` +
			`{` + second + `,"images":[],"rollbackOf":null,"healthyAt":null,"allowedBy":""}]`},
		"no list":       {Deployments(nil), `null`},
		"an empty list": {Deployments{}, `[]`},
	} {
		var out strings.Builder
		encoder := json.NewEncoder(&out)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(c.value); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, strings.TrimSpace(out.String())); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		var again []Deployment
		if err := json.Unmarshal([]byte(out.String()), &again); err != nil || len(again) > 1 && again[1].RollbackOf != 0 {
			t.Errorf("%s is read as %+v: %v", name, again, err)
		}
	}
}
