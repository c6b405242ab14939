// package election shares work between the replicas of a configuration by Leases: which replica leads, and which replicas
// are there.
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

// A process that dies is replaced when its Lease has run out and the next try of another one comes: within
// leaseDuration + 2.2 * leaseRetry, 13.3 s. One that lives and cannot renew its Lease stops writing leaseMargin before
// another one may begin.
const (
	leaseDuration = 10 * time.Second
	leaseMargin   = 3 * time.Second
	leaseRetry    = 1500 * time.Millisecond
)

// Candidate takes part in an election. Its functions may be called by several goroutines.
type Candidate struct {
	// Identity is unique among those who take part.
	Identity string
	// Leads is called when the candidate holds the Lease, with a context that ends when it does not any more. It must not block.
	Leads func(ctx context.Context)
	// Leader is told who holds the Lease, the candidate itself included.
	Leader func(identity string)
	// Lost is called when the candidate does not hold the Lease any more.
	Lost func()
	// Yields reports whether another candidate is to have the Lease when it is free. It then has it first; nil: no.
	Yields func() bool
	// Nudged is called when somebody has written the Lease that the candidate holds, as Nudge does.
	Nudged func()
	// Failed is told when the Lease cannot be read or written, once until it can be again.
	Failed func(error)
}

// Elect takes part in the election for a Lease in the records' namespace until the context ends, and gives the Lease
// back then, so that another candidate takes over at once.
func Elect(ctx context.Context, c *cluster.Cluster, lease string, candidate Candidate) error {
	config := c.Server().Config()
	config.Timeout = leaseDuration - leaseMargin // a request that hangs must not outlive the Lease
	client, err := coordination.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("preparing the connection to %s: %w", config.Host, err)
	}
	lock := &toldLock{
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

// annotationNudged is written to a Lease so that its holder hears of it, at its next renewal.
const annotationNudged = v1alpha1.Group + "/nudged-at"

// Nudge has whoever holds a Lease hear of it within leaseRetry: his next renewal finds that somebody wrote it.
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

// courtesy is how long a free Lease is left to the candidate that is to have it.
const courtesy = 8 * time.Second

// errYielded leaves a free Lease to another candidate, errTaken one that it has.
var (
	errYielded = errors.New("another candidate is to have the Lease")
	errTaken   = errors.New("another candidate has the Lease")
)

// toldLock tells of failures, which the elector only logs, and leaves a free Lease to whom it is meant for. The elector
// makes one request at a time.
type toldLock struct {
	resourcelock.Interface

	lease   string
	failed  func(error)
	failing bool
	yields  func() bool
	free    time.Time // since when the Lease has no holder; zero: it has one
	nudged  func()
	holds   bool
	taken   bool // by another candidate, as it was last read

	runs  context.CancelFunc // ends the elector's run, and the context of whoever leads with it
	until *time.Timer        // does so in time; nil: the Lease was not held yet
}

// stand runs an elector. What it does when a Lease cannot be renewed comes too late: it ends the context of whoever leads
// only when it has tried to give the Lease back, which an API server that hangs makes last.
func (l *toldLock) stand(ctx context.Context, run func(context.Context)) {
	ctx, l.runs = context.WithCancel(ctx)
	defer l.runs()
	l.holds, l.until = false, nil
	run(ctx)
	if l.until != nil {
		l.until.Stop()
	}
}

// held notes that the Lease was held when a request for it was sent.
func (l *toldLock) held(sent time.Time) {
	left := time.Until(sent.Add(leaseDuration - leaseMargin))
	if l.until == nil {
		l.until = time.AfterFunc(left, l.runs)
		return
	}
	l.until.Reset(left)
}

// offered notes whether the Lease is free.
func (l *toldLock) offered(free bool) {
	switch {
	case !free:
		l.free = time.Time{}
	case l.free.IsZero():
		l.free = time.Now()
	}
}

func (l *toldLock) yielding() bool {
	return l.yields != nil && !l.free.IsZero() && time.Since(l.free) < courtesy && l.yields()
}

func (l *toldLock) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	record, raw, err := l.Interface.Get(ctx)
	l.note(ctx, err)
	if err == nil || apierrors.IsNotFound(err) {
		l.offered(err != nil || record.HolderIdentity == "")
	}
	if err == nil {
		l.taken = record.HolderIdentity != "" && record.HolderIdentity != l.Identity()
	}
	if l.holds && l.taken { // this process slept, or somebody took the Lease by hand
		l.holds = false
		l.runs()
	}
	return record, raw, err
}

func (l *toldLock) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	if l.yielding() {
		return errYielded
	}
	sent := time.Now()
	err := l.Interface.Create(ctx, record)
	if apierrors.IsNotFound(err) { // of all that a create needs, the namespace
		l.tell(fmt.Errorf("%w; run `syncer install` first", err))
		return err
	}
	l.took(ctx, record, sent, err)
	return err
}

// took notes how a write of the Lease went.
func (l *toldLock) took(ctx context.Context, record resourcelock.LeaderElectionRecord, sent time.Time, err error) {
	l.note(ctx, err)
	switch {
	case err == nil:
		l.offered(false)
		if l.holds = record.HolderIdentity == l.Identity(); l.holds {
			l.held(sent)
		}
	case l.holds && apierrors.IsConflict(err) && l.nudged != nil:
		l.nudged() // the elector reads the Lease anew and goes on
	}
}

func (l *toldLock) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	if record.HolderIdentity != "" && l.yielding() { // an empty one gives it back
		return errYielded
	}
	if record.HolderIdentity == "" && l.taken {
		return errTaken // the elector gives back what it believes to hold, and reads the Lease before
	}
	sent := time.Now()
	err := l.Interface.Update(ctx, record)
	l.took(ctx, record, sent, err)
	return err
}

func (l *toldLock) note(ctx context.Context, err error) {
	switch {
	case err == nil:
		l.failing = false
	case ctx.Err() != nil && errors.Is(err, context.Canceled), apierrors.IsNotFound(err), apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
		// It is told to stop, or another candidate was faster: that is what an election is.
	default:
		l.tell(answer.AdviseRight(err))
	}
}

func (l *toldLock) tell(err error) {
	if !l.failing {
		l.failing = true
		l.failed(fmt.Errorf("the Lease %s, without which nothing is written: %w", l.lease, err))
	}
}
