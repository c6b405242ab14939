// package election shares work between the replicas of a configuration by Leases: which replica leads, and which
// replicas are there.
package election

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	coordination "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// Another process replaces a dead one after the Lease has expired and the next try has come: within leaseDuration + 2.2
// * leaseRetry, 13.3 s. A live process that cannot renew its Lease stops its writes leaseMargin before another process
// may begin.
const (
	leaseDuration = 10 * time.Second
	leaseMargin   = 3 * time.Second
	leaseRetry    = 1500 * time.Millisecond
)

// Candidate takes part in an election. Its functions may be called by several goroutines.
type Candidate struct {
	// Identity is unique among the candidates.
	Identity string
	// Leads is called when the candidate holds the Lease, with a context that ends when it does not any more. It must not
	// block.
	Leads func(ctx context.Context)
	// Leader is called with the holder of the Lease, which may be the candidate itself.
	Leader func(identity string)
	// Lost is called when the candidate does not hold the Lease any more.
	Lost func()
	// Yields reports whether another candidate is to have the Lease when it is free. This candidate then leaves the Lease
	// to it first; nil: no.
	Yields func() bool
	// Nudged is called when another process has written the Lease that the candidate holds, as Nudge does.
	Nudged func()
	// Failed is called when the Lease cannot be read or written, once until this works again.
	Failed func(error)
}

// Elect takes part in the election for a Lease in the records' namespace until the context ends. It then releases the
// Lease, so that another candidate takes over at once.
func Elect(ctx context.Context, c *cluster.Cluster, lease string, candidate Candidate) error {
	config := c.Server().Config()
	config.Timeout = leaseDuration - leaseMargin // a request that hangs must end before the Lease does
	client, err := coordination.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("preparing the connection to %s: %w", config.Host, err)
	}
	lock := &reportingLock{
		Interface: &resourcelock.LeaseLock{
			LeaseMeta: metav1.ObjectMeta{Namespace: c.Namespace(), Name: lease}, Client: client,
			LockConfig: resourcelock.ResourceLockConfig{Identity: candidate.Identity},
		},
		failed: candidate.Failed, lease: c.Namespace() + "/" + lease, yields: candidate.Yields, nudged: candidate.Nudged,
	}
	for ctx.Err() == nil {
		elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
			Lock: lock, Name: lease, ReleaseOnCancel: true,
			LeaseDuration: leaseDuration, RenewDeadline: leaseDuration - leaseMargin, RetryPeriod: leaseRetry,
			Callbacks: leaderelection.LeaderCallbacks{
				OnStartedLeading: candidate.Leads, OnStoppedLeading: candidate.Lost, OnNewLeader: candidate.Leader,
			},
		})
		if err != nil {
			return fmt.Errorf("the election for %s: %w", lock.lease, err)
		}
		lock.stand(ctx, elector.Run) // returns when the Lease is lost
	}
	return nil
}

// annotationNudged is written to a Lease so that its holder notices it at its next renewal.
const annotationNudged = v1alpha1.Group + "/nudged-at"

// Nudge notifies the holder of a Lease within leaseRetry: its next renewal finds the write of another process.
func Nudge(ctx context.Context, c *cluster.Cluster, lease string) error {
	config := c.Server().Config()
	config.Timeout = leaseDuration - leaseMargin
	client, err := coordination.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("preparing the connection to %s: %w", config.Host, err)
	}
	now := time.Now().UTC().Format(metav1.RFC3339Micro)
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{annotationNudged: now}}})
	if err != nil {
		return err
	}
	if _, err := client.Leases(c.Namespace()).Patch(ctx, lease, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: manifest.FieldManager}); err != nil {
		return fmt.Errorf("nudging the holder of the Lease %s/%s: %w", c.Namespace(), lease, answer.AdviseRight(err))
	}
	return nil
}

// yieldTime is how long a candidate leaves a free Lease to the preferred candidate.
const yieldTime = 8 * time.Second

// errYielded: the candidate leaves a free Lease to another one. errTaken: another candidate has the Lease.
var (
	errYielded = errors.New("another candidate is to have the Lease")
	errTaken   = errors.New("another candidate has the Lease")
)

// reportingLock reports failures, which the elector only logs, and leaves a free Lease to the preferred candidate. The
// elector makes one request at a time.
type reportingLock struct {
	resourcelock.Interface

	lease   string
	failed  func(error)
	failing bool
	yields  func() bool
	free    time.Time // since when the Lease has no holder; zero: it has one
	nudged  func()
	holds   bool
	taken   bool // by another candidate, as it was last read

	runs  context.CancelFunc // ends the elector's run, and with it the context of the leader
	until *time.Timer        // calls runs in time; nil: the Lease was not held yet
}

// stand runs an elector. When a Lease cannot be renewed, the elector reacts too late: it ends the leader's context only
// after it has tried to release the Lease, and an API server that hangs delays this.
func (l *reportingLock) stand(ctx context.Context, run func(context.Context)) {
	ctx, l.runs = context.WithCancel(ctx)
	defer l.runs()
	l.holds, l.until = false, nil
	run(ctx)
	if l.until != nil {
		l.until.Stop()
	}
}

// held notes that the candidate held the Lease when it sent a request for it.
func (l *reportingLock) held(sent time.Time) {
	left := time.Until(sent.Add(leaseDuration - leaseMargin))
	if l.until == nil {
		l.until = time.AfterFunc(left, l.runs)
		return
	}
	l.until.Reset(left)
}

// offered notes whether the Lease is free.
func (l *reportingLock) offered(free bool) {
	switch {
	case !free:
		l.free = time.Time{}
	case l.free.IsZero():
		l.free = time.Now()
	}
}

func (l *reportingLock) yielding() bool {
	return l.yields != nil && !l.free.IsZero() && time.Since(l.free) < yieldTime && l.yields()
}

func (l *reportingLock) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	record, raw, err := l.Interface.Get(ctx)
	l.note(ctx, err)
	if err == nil || apierrors.IsNotFound(err) {
		l.offered(err != nil || record.HolderIdentity == "")
	}
	if err == nil {
		l.taken = record.HolderIdentity != "" && record.HolderIdentity != l.Identity()
	}
	if l.holds && l.taken { // this process was suspended, or a person changed the Lease by hand
		l.holds = false
		l.runs()
	}
	return record, raw, err
}

func (l *reportingLock) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	if l.yielding() {
		return errYielded
	}
	sent := time.Now()
	err := l.Interface.Create(ctx, record)
	if apierrors.IsNotFound(err) { // the namespace is missing
		l.report(fmt.Errorf("%w; run `syncer install` first", err))
		return err
	}
	l.took(ctx, record, sent, err)
	return err
}

// took notes the result of a write of the Lease.
func (l *reportingLock) took(ctx context.Context, record resourcelock.LeaderElectionRecord, sent time.Time, err error) {
	l.note(ctx, err)
	switch {
	case err == nil:
		l.offered(false)
		if l.holds = record.HolderIdentity == l.Identity(); l.holds {
			l.held(sent)
		}
	case l.holds && apierrors.IsConflict(err) && l.nudged != nil:
		l.nudged() // the elector reads the Lease again and goes on
	}
}

func (l *reportingLock) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	if record.HolderIdentity != "" && l.yielding() { // an empty one releases it
		return errYielded
	}
	if record.HolderIdentity == "" && l.taken {
		return errTaken // the elector releases the Lease that it believes to hold, and reads it before
	}
	sent := time.Now()
	err := l.Interface.Update(ctx, record)
	l.took(ctx, record, sent, err)
	return err
}

func (l *reportingLock) note(ctx context.Context, err error) {
	switch {
	case err == nil:
		l.failing = false
	case ctx.Err() != nil && errors.Is(err, context.Canceled), apierrors.IsNotFound(err), apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
		// The election ends, or another candidate was faster: this is normal in an election.
	default:
		l.report(answer.AdviseRight(err))
	}
}

func (l *reportingLock) report(err error) {
	if !l.failing {
		l.failing = true
		l.failed(fmt.Errorf("the Lease %s, without which nothing is written: %w", l.lease, err))
	}
}
