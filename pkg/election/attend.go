package election

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	coordination "k8s.io/client-go/kubernetes/typed/coordination/v1"

	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/clock"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/manifest"
)

const (
	// labelReplicas is on the Leases by which the replicas of one configuration find each other.
	labelReplicas  = v1alpha1.Group + "/replicas-of"
	attendInterval = 3 * time.Second
	// goneAfter is the time after which the Lease of a silent replica is deleted.
	goneAfter = 10 * time.Minute
)

// Attend makes the replicas of a configuration known to each other until the context ends: each replica keeps a Lease of
// its own in the records' namespace, and deletes it when it ends. Attend calls told with the sorted identities of the
// live replicas, whenever they change. It calls failed when the Leases cannot be written or read, once until this works
// again.
func Attend(ctx context.Context, c *cluster.Cluster, configuration, identity string, told func(present []string), failed func(error)) error {
	config := c.Server().Config()
	config.Timeout = leaseDuration - leaseMargin
	client, err := coordination.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("preparing the connection to %s: %w", config.Host, err)
	}
	a := &attendance{leases: client.Leases(c.Namespace()), configuration: configuration, identity: identity, seen: map[string]sighting{}}
	defer a.leave(ctx)
	var present []string
	failing := false
	for ctx.Err() == nil {
		now, err := a.round(ctx)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			if !failing {
				failed(fmt.Errorf("the Leases by which replicas know of each other: %w", answer.AdviseRight(err)))
			}
			failing = true
		default:
			failing = false
			if !slices.Equal(now, present) {
				present = now
				told(present)
			}
		}
		_ = clock.Sleep(ctx, attendInterval) // the loop checks the context
	}
	return nil
}

// attendance is the state of one replica in Attend.
type attendance struct {
	leases                  coordination.LeaseInterface
	configuration, identity string
	seen                    map[string]sighting // by identity
}

// sighting is the last sign of life of a replica. Clocks are not compared: a changed time is the sign.
type sighting struct {
	renewed metav1.MicroTime
	at      time.Time // by the own clock
}

func (a *attendance) name() string {
	sum := sha256.Sum256([]byte(a.identity))
	return "syncer-" + a.configuration + ".replica-" + hex.EncodeToString(sum[:5])
}

// round renews the own Lease, and reads those of the others.
func (a *attendance) round(ctx context.Context) ([]string, error) {
	now := metav1.NewMicroTime(time.Now())
	seconds := int32(leaseDuration / time.Second)
	lease := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: a.name(), Labels: map[string]string{labelReplicas: a.configuration}},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: &a.identity, RenewTime: &now, LeaseDurationSeconds: &seconds},
	}
	sign, err := json.Marshal(map[string]any{"spec": map[string]any{"renewTime": now}})
	if err != nil {
		return nil, err
	}
	_, err = a.leases.Patch(ctx, lease.Name, types.MergePatchType, sign, metav1.PatchOptions{FieldManager: manifest.FieldManager})
	if apierrors.IsNotFound(err) {
		_, err = a.leases.Create(ctx, lease, metav1.CreateOptions{FieldManager: manifest.FieldManager})
	}
	if err != nil {
		return nil, err
	}
	list, err := a.leases.List(ctx, metav1.ListOptions{LabelSelector: labelReplicas + "=" + a.configuration})
	if err != nil {
		return nil, err
	}
	present := []string{}
	for i := range list.Items {
		item := &list.Items[i]
		if item.Spec.HolderIdentity == nil || item.Spec.RenewTime == nil {
			continue
		}
		who := *item.Spec.HolderIdentity
		last, known := a.seen[who]
		if !known || !last.renewed.Equal(item.Spec.RenewTime) {
			last = sighting{*item.Spec.RenewTime, time.Now()}
			a.seen[who] = last
		}
		switch silent := time.Since(last.at); {
		case silent < leaseDuration:
			present = append(present, who)
		case silent > goneAfter:
			delete(a.seen, who)
			_ = a.leases.Delete(ctx, item.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{ResourceVersion: &item.ResourceVersion}}) // the next round tries again
		}
	}
	slices.Sort(present)
	return present, nil
}

// leave deletes the own Lease, so that the others do not wait until it expires.
func (a *attendance) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), attendInterval)
	defer cancel()
	_ = a.leases.Delete(ctx, a.name(), metav1.DeleteOptions{}) // the others notice that it is not renewed any more
}
