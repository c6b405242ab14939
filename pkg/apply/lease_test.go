package apply

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// oneLease keeps a Lease in memory, as the API server keeps it for a lock.
type oneLease struct {
	resourcelock.Interface
	record resourcelock.LeaderElectionRecord
}

func (l *oneLease) Identity() string { return "this" }

func (l *oneLease) Get(context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	record := l.record
	return &record, nil, nil
}

func (l *oneLease) Update(_ context.Context, record resourcelock.LeaderElectionRecord) error {
	l.record = record
	return nil
}

// held is a lock whose candidate has just taken the Lease, and the context of its term.
func held(t *testing.T) (*toldLock, *oneLease, context.Context) {
	t.Helper()
	lease := &oneLease{}
	lock := &toldLock{Interface: lease, failed: func(err error) { t.Error(err) }}
	term, end := context.WithCancel(t.Context())
	lock.begin(end)
	if err := lock.Update(term, resourcelock.LeaderElectionRecord{HolderIdentity: "this"}); err != nil {
		t.Fatal(err)
	}
	return lock, lease, term
}

// A process that was frozen between two renewals must not write for as long as a renewal may take: another one leads.
func TestTermEndsWhenTheLeaseIsNotRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lock, _, term := held(t)
		defer lock.finish()
		for range 3 {
			time.Sleep(leaseDuration - leaseMargin - time.Millisecond)
			if err := lock.Update(term, resourcelock.LeaderElectionRecord{HolderIdentity: "this"}); err != nil || term.Err() != nil {
				t.Fatalf("the term has ended while the Lease was renewed: %v", err)
			}
		}
		time.Sleep(leaseDuration - leaseMargin)
		synctest.Wait()
		if term.Err() == nil {
			t.Error("the term goes on, and another candidate may have the Lease soon")
		}
	})
}

// On a machine that was suspended no time has passed for its processes: the Lease itself tells.
func TestTermEndsWhenAnotherHasTheLease(t *testing.T) {
	lock, lease, term := held(t)
	defer lock.finish()
	if _, _, err := lock.Get(term); err != nil || term.Err() != nil {
		t.Fatalf("the term has ended by a look at its own Lease: %v", err)
	}
	lease.record.HolderIdentity = "another"
	if _, _, err := lock.Get(term); err != nil || term.Err() == nil {
		t.Errorf("the term goes on though another candidate has the Lease: %v", err)
	}
	// The elector gives back what it thinks it holds.
	if err := lock.Update(t.Context(), resourcelock.LeaderElectionRecord{}); !errors.Is(err, errTaken) || lease.record.HolderIdentity != "another" {
		t.Errorf("the Lease of another candidate was given back: %v, %+v", err, lease.record)
	}
}
