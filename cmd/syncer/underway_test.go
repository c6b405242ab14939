package main

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/daemon"
	"github.com/syncerdev/syncer/pkg/drift"
)

// underwayTime is how long a commit may be on its way before everybody says so, and some time for a busy machine. The
// webhook holds a request for 30 s, and no longer.
const underwayTime = 5*time.Second + 20*time.Second

// states are those of the targets in a daemon's view.
func states(d *daemon.Daemon) string {
	out := map[string]drift.State{}
	for _, target := range d.View().Targets {
		out[target.Pipeline] = target.State
	}
	return fmt.Sprint(out) // sorted by key
}

// While a webhook keeps a commit from being written, the record, the view, the metrics and the status say so: of the target
// whose dry run or whose write hangs, and of those that wait for their turn behind others.
func TestACommitThatIsOnItsWay(t *testing.T) {
	for name, only := range map[string]string{"dry run": "dry run", "write": "write"} {
		t.Run(name, func(t *testing.T) {
			j := newJump(t)
			hook := startHook(t, j)
			var names []string
			for i := range 10 { // more than are reconciled side by side
				names = append(names, fmt.Sprintf("p%d", i))
				j.write(t, names[i], "web:1", "1")
			}
			j.write(t, "calm", "web:1", "1")
			j.follow(t)
			j.commit(t, "All")
			for _, name := range append(names, "calm") {
				j.await(t, name, "1")
			}

			hook.holds.Store(&only)
			for _, name := range names {
				j.write(t, name, "web:1", "2")
			}
			j.commit(t, "Two")
			commit := strings.TrimSpace(j.git(t, "rev-parse", "HEAD"))
			began := time.Now()
			for _, name := range names {
				j.awaitRecord(t, name, func(record *unstructured.Unstructured) bool {
					if time.Since(began) > underwayTime {
						t.Fatalf("%s: the record says %v", name, conditions(record))
					}
					return conditions(record)["Ready"] == "False CommitUnderway" && conditions(record)["Reconciling"] == "True CommitUnderway" &&
						strings.Contains(message(record, "Ready"), commit[:8])
				})
			}
			j.awaitRecord(t, "calm", func(record *unstructured.Unstructured) bool {
				if got := conditions(record)["Ready"]; got != "True Healthy" {
					t.Errorf("what the commit leaves as it is says %s", got)
				}
				return true
			})
			want := map[string]drift.State{"calm": drift.Ready}
			for _, name := range names {
				want[name] = drift.Progressing
			}
			for states(j.runner.daemon) != fmt.Sprint(want) { // the view follows the records a moment later
				if time.Since(began) > underwayTime {
					t.Errorf("the view says %s, want %v", states(j.runner.daemon), want)
					break
				}
				time.Sleep(20 * time.Millisecond)
			}
			if ready := j.ready(t); !slices.Equal(ready, []string{"calm"}) {
				t.Errorf("ready by the status: %v", ready)
			}
			j.awaitProgressing(t, 10)

			hook.release()
			for _, name := range names {
				j.await(t, name, "2")
				j.awaitRecord(t, name, func(record *unstructured.Unstructured) bool {
					return conditions(record)["Ready"] == "True Healthy" && conditions(record)["Reconciling"] == "False Healthy"
				})
			}
			j.awaitProgressing(t, 0)
		})
	}
}

// A commit that is taken back before it was written leaves nothing behind.
func TestACommitThatIsTakenBackOnItsWay(t *testing.T) {
	j := newJump(t)
	hook := startHook(t, j)
	j.write(t, "web", "web:1", "1")
	j.follow(t)
	j.commit(t, "One")
	j.await(t, "web", "1")
	only := "dry run"
	hook.holds.Store(&only)
	j.write(t, "web", "web:1", "2")
	j.commit(t, "Two")
	j.awaitRecord(t, "web", func(record *unstructured.Unstructured) bool {
		return conditions(record)["Ready"] == "False CommitUnderway"
	})
	j.write(t, "web", "web:1", "1")
	j.commit(t, "One again")
	j.awaitRecord(t, "web", func(record *unstructured.Unstructured) bool {
		return conditions(record)["Ready"] == "True Healthy" && conditions(record)["Reconciling"] == "False Healthy"
	})
	hook.release()
	j.await(t, "web", "1")
}

// A commit that comes while the one before is being written is said as well, and neither gets in the way of the other.
func TestANewerCommitOnItsWay(t *testing.T) {
	j := newJump(t)
	hook := startHook(t, j)
	j.write(t, "web", "web:1", "1")
	j.follow(t)
	j.commit(t, "One")
	j.await(t, "web", "1")
	only := "write"
	hook.holds.Store(&only)
	for _, version := range []string{"2", "3"} {
		j.write(t, "web", "web:1", version)
		j.commit(t, version)
		commit := strings.TrimSpace(j.git(t, "rev-parse", "HEAD"))
		j.awaitRecord(t, "web", func(record *unstructured.Unstructured) bool {
			return conditions(record)["Ready"] == "False CommitUnderway" && strings.HasPrefix(message(record, "Ready"), "commit "+commit[:8])
		})
	}
	hook.release()
	j.await(t, "web", "3")
	j.awaitRecord(t, "web", func(record *unstructured.Unstructured) bool { return conditions(record)["Ready"] == "True Healthy" })
	j.awaitRecord(t, "web", func(record *unstructured.Unstructured) bool {
		history, _, _ := unstructured.NestedSlice(record.Object, "status", "history")
		for _, each := range history {
			if d := each.(map[string]any); d["outcome"] != "Applied" {
				t.Errorf("deployment %v is %v", d["number"], d["outcome"])
			}
		}
		if len(history) != 3 {
			t.Errorf("%d deployments, want 3", len(history))
		}
		return true
	})
}

// slowHook is an admission webhook for CronJobs that holds the requests of one kind.
type slowHook struct {
	holds    atomic.Pointer[string] // "dry run" or "write"; nil: nothing
	released chan struct{}
}

func (h *slowHook) release() {
	h.holds.Store(nil)
	close(h.released)
}

func startHook(t *testing.T, j *jump) *slowHook {
	t.Helper()
	h := &slowHook{released: make(chan struct{})}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
			Request    struct {
				UID    string `json:"uid"`
				DryRun bool   `json:"dryRun"`
			} `json:"request"`
		}
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if what := h.holds.Load(); what != nil && (*what == "dry run") == review.Request.DryRun {
			select {
			case <-h.released:
			case <-r.Context().Done():
				return
			}
		}
		_ = json.NewEncoder(w).Encode(map[string]any{ // the API server reads it, or has gone
			"apiVersion": review.APIVersion, "kind": review.Kind, "response": map[string]any{"uid": review.Request.UID, "allowed": true},
		})
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() {
		select {
		case <-h.released:
		default:
			h.release() // so that nothing waits for it any more
		}
	})
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	configuration := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration", "metadata": map[string]any{"name": "slow"},
		"webhooks": []any{map[string]any{
			"name": "slow.example.com", "sideEffects": "None", "admissionReviewVersions": []any{"v1"}, "timeoutSeconds": int64(30), "failurePolicy": "Fail",
			"clientConfig": map[string]any{"url": server.URL, "caBundle": base64.StdEncoding.EncodeToString(ca)},
			"rules": []any{map[string]any{
				"apiGroups": []any{"batch"}, "apiVersions": []any{"v1"}, "resources": []any{"cronjobs"}, "operations": []any{"CREATE", "UPDATE"},
			}},
		}},
	}}
	hooks := j.client.Resource(resource("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations"))
	if _, err := hooks.Create(t.Context(), configuration, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return h
}

// conditions are those of a record, each as its value and reason.
func conditions(record *unstructured.Unstructured) map[string]string {
	out := map[string]string{}
	list, _, _ := unstructured.NestedSlice(record.Object, "status", "conditions")
	for _, each := range list {
		c := each.(map[string]any)
		out[c["type"].(string)] = fmt.Sprint(c["status"], " ", c["reason"])
	}
	return out
}

func message(record *unstructured.Unstructured, kind string) string {
	list, _, _ := unstructured.NestedSlice(record.Object, "status", "conditions")
	for _, each := range list {
		if c := each.(map[string]any); c["type"] == kind {
			return c["message"].(string)
		}
	}
	return ""
}

// ready lists the pipelines that are ready by `syncer status`.
func (j *jump) ready(t *testing.T) []string {
	t.Helper()
	status, err := j.runner.session.Status(t.Context(), v1alpha1.Selection{})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, target := range status.Targets {
		if target.Ready {
			out = append(out, target.Pipeline)
		}
	}
	return out
}

// awaitProgressing waits until the metrics, which follow the records, count as many progressing targets.
func (j *jump) awaitProgressing(t *testing.T, want float64) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); j.progressing(t) != want; <-tick.C {
		if time.Since(began) > awaitTimeout {
			t.Fatalf("after %s the metrics count %v progressing targets, want %v", awaitTimeout, j.progressing(t), want)
		}
	}
}

// progressing is how many targets the metrics count as such.
func (j *jump) progressing(t *testing.T) float64 {
	t.Helper()
	families, err := j.runner.daemon.Metrics().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				if family.GetName() == "syncer_targets" && l.GetValue() == string(drift.Progressing) {
					return m.GetGauge().GetValue()
				}
			}
		}
	}
	return 0
}
