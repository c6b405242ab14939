package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// betweenEdits is how long an object is left alone after an edit: syncer leaves a field to a manager that takes it back
// repeatedly.
const betweenEdits = 75 * time.Second

// handEdit is a change of an object by a person, past git.
type handEdit struct {
	what string
	fits func(k key, o *unstructured.Unstructured) bool
	do   func(ctx context.Context, s *stage, k key, o *unstructured.Unstructured, manager string) error
}

var handEdits = []handEdit{
	{"changes", func(k key, _ *unstructured.Unstructured) bool { return patches[k.kind] != "" }, changeByHand},
	{"deletes", func(k key, _ *unstructured.Unstructured) bool { return !runs(k.kind) }, deleteByHand},
	{"deletes the run", func(k key, o *unstructured.Unstructured) bool { return runs(k.kind) && running(o) }, deleteByHand},
	{"deletes and creates again", func(k key, _ *unstructured.Unstructured) bool { return k.kind == "ConfigMap" || k.kind == "CronJob" }, recreateByHand},
	{"clears the managed fields of", func(k key, _ *unstructured.Unstructured) bool { return k.kind == "ConfigMap" }, clearOwnership},
	{"applies an older form in syncer's name to", func(k key, _ *unstructured.Unstructured) bool { return k.kind == "ConfigMap" }, applyOlder},
}

// patches change a field that git sets, by kind.
var patches = map[string]string{
	"ConfigMap":  `{"data":{"value":"by hand"}}`,
	"Secret":     `{"data":{"password":"YnkgaGFuZA=="}}`,
	"Deployment": `{"spec":{"replicas":3}}`,
	"CronJob":    `{"spec":{"schedule":"59 23 30 2 *"}}`,
}

// edit makes a person change an object past git, if there is one that fits.
func (s *stage) edit(ctx context.Context) error {
	how := handEdits[s.random.IntN(len(handEdits))]
	h := s.repo.head()
	var fitting []key
	for _, environment := range environments {
		for _, pipeline := range pipelines {
			for k := range h.model.objects(target{pipeline, environment}) {
				o := s.cluster.newest(k).object
				if o != nil && k.kind != "ServiceAccount" && time.Since(s.handEdits[k]) > betweenEdits && how.fits(k, o) {
					fitting = append(fitting, k)
				}
			}
		}
	}
	if len(fitting) == 0 {
		return nil
	}
	sortKeys(fitting)
	k := fitting[s.random.IntN(len(fitting))]
	o := s.cluster.newest(k).object
	s.handEdits[k] = time.Now()
	s.edits++
	s.judge.mu.Lock()
	s.judge.own[o.GetUID()] = true
	if targetOf(k).environment == prod {
		s.judge.edited[k] = time.Now()
	}
	s.judge.mu.Unlock()
	s.journal.say("somebody %s %s", how.what, k)
	err := how.do(ctx, s, k, o.DeepCopy(), fmt.Sprintf("hand-%d", s.edits))
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		s.journal.say("  not done: %v", err)
		return nil
	}
	return err
}

func changeByHand(ctx context.Context, s *stage, k key, _ *unstructured.Unstructured, manager string) error {
	_, err := s.cluster.of(k).Patch(ctx, k.name, types.MergePatchType, []byte(patches[k.kind]), metav1.PatchOptions{FieldManager: manager})
	return err
}

func deleteByHand(ctx context.Context, s *stage, k key, o *unstructured.Unstructured, _ string) error {
	background := metav1.DeletePropagationBackground
	uid := o.GetUID()
	return s.cluster.of(k).Delete(ctx, k.name, metav1.DeleteOptions{PropagationPolicy: &background, Preconditions: &metav1.Preconditions{UID: &uid}})
}

// recreateByHand does the same as kubectl replace --force with the output of kubectl get.
func recreateByHand(ctx context.Context, s *stage, k key, o *unstructured.Unstructured, manager string) error {
	if err := deleteByHand(ctx, s, k, o, manager); err != nil {
		return err
	}
	o.SetUID("")
	o.SetResourceVersion("")
	o.SetManagedFields(nil)
	made, err := s.cluster.of(k).Create(ctx, o, metav1.CreateOptions{FieldManager: manager})
	if err != nil {
		return err
	}
	s.judge.mu.Lock()
	s.judge.own[made.GetUID()] = true
	s.judge.mu.Unlock()
	return nil
}

func clearOwnership(ctx context.Context, s *stage, k key, _ *unstructured.Unstructured, manager string) error {
	_, err := s.cluster.of(k).Patch(ctx, k.name, types.MergePatchType, []byte(`{"metadata":{"managedFields":[{}]}}`), metav1.PatchOptions{FieldManager: manager})
	return err
}

// applyOlder acts like a syncer that was stopped for a long time and then writes.
func applyOlder(ctx context.Context, s *stage, k key, o *unstructured.Unstructured, _ string) error {
	value := fmt.Sprint(s.random.IntN(1000))
	older := &unstructured.Unstructured{Object: object{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": object{"name": k.name, "namespace": k.namespace, "labels": map[string]any{}},
		"data":     object{"value": value},
	}}
	older.SetLabels(o.GetLabels())
	_, err := s.cluster.of(k).Apply(ctx, k.name, older, metav1.ApplyOptions{FieldManager: "syncer", Force: true})
	return err
}

// recordEdits are changes of a record by a person, past syncer. All except the last leave a record.
var recordEdits = []struct {
	what, subresource, patch string
}{
	{"empties the pins of", "", `{"spec":{"images":[]}}`},
	{"empties the status of", "status", `{"status":null}`},
	{"empties the inventory of", "status", `{"status":{"inventory":[]}}`},
	{"changes the commit of", "status", `{"status":{"lastAppliedCommit":"0000000000000000000000000000000000000000"}}`},
	{"says Ready in", "status", `{"status":{"conditions":[{"type":"Ready","status":"True","reason":"Healthy","message":"by hand","lastTransitionTime":"2024-01-01T00:00:00Z"}]}}`},
	{"deletes", "", ""},
}

// editRecord makes a person change a record by hand.
func (s *stage) editRecord(ctx context.Context) error {
	h := s.repo.head()
	var fitting []target
	for _, environment := range environments {
		for _, pipeline := range pipelines {
			t := target{pipeline, environment}
			if _, there := h.model[pipeline]; there && s.cluster.newest(t.record()).object != nil && !s.hasEdits(t) {
				fitting = append(fitting, t)
			}
		}
	}
	if len(fitting) == 0 {
		return nil
	}
	t := fitting[s.random.IntN(len(fitting))]
	k, how := t.record(), recordEdits[s.random.IntN(len(recordEdits))]
	s.judge.touch(k)
	s.journal.say("somebody %s %s", how.what, k)
	var err error
	if how.patch == "" {
		err = s.cluster.of(k).Delete(ctx, k.name, metav1.DeleteOptions{})
	} else {
		_, err = s.cluster.of(k).Patch(ctx, k.name, types.MergePatchType, []byte(how.patch), metav1.PatchOptions{FieldManager: "hand"}, strings.Fields(how.subresource)...)
	}
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// hasEdits reports whether an object of the target differs from git by hand. An edited record loses this fact.
func (s *stage) hasEdits(t target) bool {
	s.judge.mu.Lock()
	defer s.judge.mu.Unlock()
	for k := range s.judge.edited {
		if targetOf(k) == t {
			return true
		}
	}
	return false
}

// touch notes that a record was changed by hand: the pins that no object has are lost.
func (j *judge) touch(k key) {
	t := recordTarget(k)
	used := map[string]bool{}
	if s, ok := j.repo.head().model[t.pipeline]; ok {
		used[reference(t.pipeline, s.Tag)] = true
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.touched[k] = time.Now()
	for p := range j.pins {
		if p.target == t && !used[p.reference] {
			delete(j.pins, p)
		}
	}
}
