package reconcile_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/pkg/connect"
	"github.com/syncerdev/syncer/pkg/reconcile"
)

// Of two syncers the one that wrote the record first goes on. The other one leaves the target to it.
func TestRecordThatAnotherSyncerWrote(t *testing.T) {
	p := newProject(t, "")
	p.want(reconcile.Applied, "", p.commit(orders(bench.Settings("a", "1")), "First"))
	late := p.commit(orders(bench.Settings("a", "late")), "Second")
	p.want(reconcile.Applied, "1 updated", p.commit(orders(bench.Settings("a", "3")), "Third"))
	if _, err := p.try(late); !reconcile.IsOvertaken(err) {
		t.Errorf("%v", err)
	}
	if got := bench.Value(p.Get(bench.ConfigMaps, p.Namespace, "a"), "data", "key"); got != "3" {
		t.Errorf("it was overwritten: %v", got)
	}
	p.wantCondition("Ready", "True")
	// A stale plan reads the record again, and is carried out.
	result, err := p.r.Reconcile(p.Ctx, reconcile.Request{
		Desired: late.Find(p.Target), Pass: reconcile.NewPass(late, p.r.Pins.NewLookups()), Stale: true,
	})
	if err != nil || result.Result != reconcile.Applied {
		t.Errorf("%+v, %v", result, err)
	}
	if reconcile.DecidedSince(p.Cluster, p.Record(), time.Now().Add(-time.Hour)) == reconcile.DecidedSince(p.Cluster, p.Record(), time.Now().Add(time.Hour)) {
		t.Error("the moment of the decision is not known")
	}
}

// A repository that has a newer commit ends a reconcile before its first object is written.
func TestOutdatedCommitIsNotWritten(t *testing.T) {
	p := newProject(t, "")
	_, err := p.try(p.commit(orders(bench.Settings("a", "1")), "First"), func(pass *reconcile.Pass) {
		pass.Confirm = func(context.Context) error { return reconcile.ErrOutdated }
	})
	if !reconcile.IsOvertaken(err) {
		t.Errorf("%v", err)
	}
	if p.Get(bench.ConfigMaps, p.Namespace, "a") != nil {
		t.Error("it was written")
	}
}

// A newer commit ends the reads of a reconcile. The target is left to the reconcile with that commit.
func TestSupersededReconcileWritesNothing(t *testing.T) {
	p := newProject(t, "")
	ended, end := context.WithCancel(t.Context())
	end()
	result, err := p.try(p.commit(orders(bench.Settings("a", "1")), "First"), func(pass *reconcile.Pass) { pass.Newest = ended })
	if err != nil || !result.Detail.Superseded || result.Message != reconcile.ErrSuperseded.Error() {
		t.Errorf("%+v, %v", result, err)
	}
	if p.Record() != nil {
		t.Error("a record was written")
	}
}

func TestRecordThatCannotBeRead(t *testing.T) {
	p := newProject(t, "")
	p.want(reconcile.Applied, "", p.commit(orders(bench.Settings("a", "1")), "First"))
	commit := p.commit(orders(bench.Settings("a", "2")), "Second")
	d := *commit.Find(p.Target)
	refused := func(method, path string) {
		p.ConnectThrough(connect.DefaultLimits, func(req *http.Request, inner http.RoundTripper) (*http.Response, error) {
			if req.Method == method && strings.Contains(req.URL.Path, path) {
				return nil, errors.New("the connection is gone")
			}
			return inner.RoundTrip(req)
		})
		d.Cluster = p.Cluster
	}
	refused(http.MethodGet, "/pipelinesyncs/")
	result, err := p.r.Reconcile(p.Ctx, reconcile.Request{Desired: &d, Pass: reconcile.NewPass(commit, p.r.Pins.NewLookups()), Stale: true})
	if result.Result != reconcile.Failed || err == nil || !strings.Contains(err.Error(), "reading the record") {
		t.Errorf("%+v, %v", result, err)
	}
	p.Restart()
	if got := bench.Value(p.Get(bench.ConfigMaps, p.Namespace, "a"), "data", "key"); got != "1" {
		t.Errorf("it was written: %v", got)
	}
}

// The event of a rewritten history stands at the record.
func TestRewrittenHistoryIsAnEvent(t *testing.T) {
	p := newProject(t, "")
	commit := p.commit(orders(bench.Settings("a", "1")), "First")
	p.r.ReportRewound(p.Ctx, commit.Find(p.Target), "12345678") // it was never deployed
	p.want(reconcile.Applied, "", commit)
	p.r.ReportRewound(p.Ctx, p.again().Find(p.Target), "12345678")
	events, err := p.Admin.Resource(bench.Events).Namespace(p.Records).List(p.Ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	rewritten := 0
	for _, e := range events.Items {
		if bench.Value(&e, "reason") == "HistoryRewritten" {
			rewritten++
		}
	}
	if rewritten != 1 {
		t.Errorf("%d events", rewritten)
	}
}
