package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// scheduler binds pending pods to simulated nodes in turn. It replaces kube-scheduler, which is not among the programs
// here, and ignores resources, taints, affinity and node selectors.
type scheduler struct {
	client kubernetes.Interface
	nodes  []string
	next   int
	log    *os.File // the pods without a binding, and why

	cancel context.CancelFunc
	done   chan struct{}
}

// startScheduler schedules until the call of stop. It writes to the file logPath which pods it could not bind.
func startScheduler(client kubernetes.Interface, nodes []string, logPath string) (*scheduler, error) {
	log, err := openLog(logPath)
	if err != nil {
		return nil, fmt.Errorf("starting the scheduler: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &scheduler{client: client, nodes: nodes, log: log, cancel: cancel, done: make(chan struct{})}
	unbound := cache.NewListWatchFromClient(client.CoreV1().RESTClient(), "pods", corev1.NamespaceAll,
		fields.OneTermEqualSelector("spec.nodeName", ""))
	// A pod stays in the informer until it is bound, so the resync is the second try for a binding that was refused.
	informer := cache.NewSharedInformer(unbound, &corev1.Pod{}, time.Second)
	_, err = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { s.consider(ctx, obj) },
		UpdateFunc: func(_, obj any) { s.consider(ctx, obj) },
	})
	if err != nil {
		cancel()
		return nil, errors.Join(fmt.Errorf("starting the scheduler: %w", err), log.Close())
	}
	go func() {
		defer close(s.done)
		informer.RunWithContext(ctx)
	}()
	return s, nil
}

// consider binds one pod, unless it is being deleted, held by a gate, or meant for another scheduler.
func (s *scheduler) consider(ctx context.Context, obj any) {
	pod, ok := obj.(*corev1.Pod)
	if !ok || pod.DeletionTimestamp != nil || len(pod.Spec.SchedulingGates) > 0 ||
		pod.Spec.SchedulerName != corev1.DefaultSchedulerName {
		return
	}
	node := s.nodes[s.next%len(s.nodes)]
	binding := &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
		Target:     corev1.ObjectReference{Kind: "Node", Name: node},
	}
	err := s.client.CoreV1().Pods(pod.Namespace).Bind(ctx, binding, metav1.CreateOptions{})
	switch {
	case err == nil:
		s.next++
	case apierrors.IsNotFound(err), apierrors.IsConflict(err), ctx.Err() != nil:
		// The pod is gone or bound since the informer saw it, or the scheduler ends.
	default:
		// The next resync tries again; an error of the log does not matter.
		_, _ = fmt.Fprintf(s.log, "%s binding %s/%s to %s: %v\n",
			time.Now().Format(time.TimeOnly), pod.Namespace, pod.Name, node, err)
	}
}

// stop returns when the scheduler has ended.
func (s *scheduler) stop() error {
	if s == nil {
		return nil
	}
	s.cancel()
	<-s.done
	return s.log.Close()
}
