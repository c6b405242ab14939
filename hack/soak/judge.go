package main

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"
)

// within is the time after a fault in which the cluster becomes equal to git's newest commit.
const within = 60 * time.Second

// stays is how long the cluster has to be equal, so that a pass which is under way has time to break it.
const stays = time.Second

// noticed is the time after which syncer does not report an edit any more that left no difference: longer than the time
// in which syncer notices one.
const noticed = 2 * within

// declaredFor is how long git has to declare an object before its deletion is a violation: a slow or stopped syncer may
// still apply an earlier commit.
const declaredFor = 90 * time.Second

// pinned names a pin: a reference of a target that has a digest.
type pinned struct {
	target    target
	reference string
}

// judge compares the invariants with the state of the cluster. It trusts no statement of syncer: it judges the
// statements of the records as well.
type judge struct {
	journal *journal
	cluster *cluster
	repo    *repository
	images  *images
	logs    func() map[string][]byte // of the syncers, for evidence

	mu        sync.Mutex
	wg        sync.WaitGroup
	disturbed bool                                 // a fault is in force
	paused    bool                                 // everything is being deleted
	own       map[types.UID]bool                   // objects that the soak deletes or changes as if by hand
	edited    map[key]time.Time                    // objects that were changed by hand where drift is only reported
	touched   map[key]time.Time                    // records that were changed by hand
	finished  map[key][]*unstructured.Unstructured // runs that ended
	pins      map[pinned]string                    // where tags are pinned
}

func (j *judge) begin() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.own, j.edited, j.touched = map[types.UID]bool{}, map[key]time.Time{}, map[key]time.Time{}
	j.finished, j.pins = map[key][]*unstructured.Unstructured{}, map[pinned]string{}
	j.paused = false
}

// heard judges one event of the cluster.
func (j *judge) heard(ctx context.Context, e event) {
	j.mu.Lock()
	paused := j.paused
	j.mu.Unlock()
	if paused {
		return
	}
	switch {
	case e.key.kind == "PipelineSync":
		if e.after.object != nil {
			j.judgePins(e.key, e.after.object)
			j.judgeClaim(ctx, e)
		}
	case e.after.object == nil:
		if e.last.GetDeletionTimestamp() == nil || e.before.object == nil || e.before.object.GetDeletionTimestamp() == nil {
			j.judgeDeletion(e.key, e.last)
		}
	case e.before.object != nil:
		if e.after.object.GetDeletionTimestamp() != nil && e.before.object.GetDeletionTimestamp() == nil {
			j.judgeDeletion(e.key, e.before.object)
		}
		j.judgeChange(e)
		fallthrough
	default:
		if ended(e.after.object) {
			j.mu.Lock()
			j.finished[e.key] = append(j.finished[e.key], e.after.object)
			j.finished[e.key] = j.finished[e.key][max(0, len(j.finished[e.key])-50):]
			j.mu.Unlock()
		}
	}
}

// judgeDeletion judges the begin of an object's deletion.
func (j *judge) judgeDeletion(k key, o *unstructured.Unstructured) {
	j.mu.Lock()
	own := j.own[o.GetUID()]
	j.mu.Unlock()
	if own {
		return
	}
	if running(o) {
		j.violated("run-touched", fmt.Sprintf("%s was deleted while it ran", k), targetOf(k), map[string][]byte{"run.yaml": text(o)})
		return
	}
	if runs(k.kind) {
		return // it ended: it may be replaced, or remove itself
	}
	for _, h := range j.repo.since(time.Now().Add(-declaredFor)) {
		if h.model.objects(targetOf(k))[k] == nil {
			return
		}
	}
	j.violated("declared-deleted", fmt.Sprintf("%s was deleted, and git has declared it for %s", k, declaredFor), targetOf(k), map[string][]byte{"deleted.yaml": text(o)})
}

// judgeChange judges an object's change in place.
func (j *judge) judgeChange(e event) {
	if e.key.kind != "SparkApplication" || !running(e.before.object) {
		return
	}
	j.mu.Lock()
	own := j.own[e.after.object.GetUID()]
	j.mu.Unlock()
	if !own && e.before.object.GetUID() == e.after.object.GetUID() && e.before.object.GetGeneration() != e.after.object.GetGeneration() {
		j.violated("run-touched", fmt.Sprintf("%s was changed while it ran", e.key), targetOf(e.key),
			map[string][]byte{"before.yaml": text(e.before.object), "after.yaml": text(e.after.object)})
	}
}

// judgePins judges that a record keeps its pins.
func (j *judge) judgePins(k key, record *unstructured.Unstructured) {
	t := recordTarget(k)
	has := map[string]string{}
	entries, _, _ := unstructured.NestedSlice(record.Object, "spec", "images")
	for _, entry := range entries {
		fields, _ := entry.(object)
		ref, _ := fields["reference"].(string)
		has[ref], _ = fields["digest"].(string)
	}
	j.mu.Lock()
	touched := time.Since(j.touched[k]) < 2*time.Second
	var wrong []string
	for ref, digest := range has {
		if !j.images.had(ref, digest) {
			wrong = append(wrong, fmt.Sprintf("%s is pinned to %s, which it never stood for", ref, digest))
		}
	}
	if t.environment == prod {
		for p, digest := range j.pins {
			if p.target != t || touched {
				continue
			}
			switch now, ok := has[p.reference]; {
			case !ok && record.GetDeletionTimestamp() == nil:
				if j.touched[k].IsZero() { // unused pins do not come back
					wrong = append(wrong, fmt.Sprintf("the pin of %s is gone", p.reference))
				}
			case ok && now != digest:
				wrong = append(wrong, fmt.Sprintf("the pin of %s changed from %s to %s", p.reference, digest, now))
			}
		}
		if !touched {
			for ref, digest := range has {
				j.pins[pinned{t, ref}] = digest
			}
		}
	}
	j.mu.Unlock()
	for _, w := range slices.Sorted(slices.Values(wrong)) {
		j.violated("pin-changed", t.String()+": "+w, t, map[string][]byte{})
	}
}

// judgeClaim judges a record that says that its target agrees with a commit: this has to be true at some moment around
// the write.
func (j *judge) judgeClaim(ctx context.Context, e event) {
	c := claimOf(e.after.object)
	if !c.ready {
		return
	}
	m, ok := j.repo.at(c.commit)
	if !ok {
		return
	}
	t := recordTarget(e.key)
	j.mu.Lock()
	earlier := 15 * time.Second
	if j.disturbed {
		earlier = 45 * time.Second
	}
	j.mu.Unlock()
	const later = 3 * time.Second
	j.wg.Go(func() {
		select {
		case <-ctx.Done():
			return
		case <-time.After(later):
		}
		wrong := j.neverEqual(t, m, e.after.at.Add(-earlier), e.after.at.Add(later))
		if len(wrong) > 0 {
			j.violated("ready-untrue", fmt.Sprintf("%s was written as Ready and in sync at %s, and was not so at any moment around: %s",
				t, short(c.commit), strings.Join(wrong, "; ")), t, map[string][]byte{"claim.yaml": text(e.after.object)})
		}
	})
}

// neverEqual returns nothing when the objects of a target agreed with a commit at one moment of a time, and else the
// differences at the end.
func (j *judge) neverEqual(t target, m model, from, to time.Time) []string {
	wanted := m.objects(t)
	moments := []time.Time{to}
	histories := map[key][]version{}
	for k := range wanted {
		histories[k] = j.cluster.history(k)
		for _, v := range histories[k] {
			if v.at.After(from) && v.at.Before(to) {
				moments = append(moments, v.at)
			}
		}
	}
	moments = append(moments, from)
	var wrong []string
	for i, moment := range moments {
		var now []string
		for k, want := range wanted {
			for _, d := range j.objectDifferences(k, want, at(histories[k], moment), j.images.had) {
				now = append(now, fmt.Sprintf("%s %s", k, d))
			}
		}
		if len(now) == 0 {
			return nil
		}
		if i == 0 {
			wrong = now
		}
	}
	slices.Sort(wrong)
	return wrong
}

// at returns the state of the object at a time.
func at(history []version, moment time.Time) *unstructured.Unstructured {
	var found *unstructured.Unstructured
	for i, v := range history {
		if v.at.After(moment) {
			break
		}
		found = history[i].object
	}
	return found
}

// objectDifferences compares one object with git. A run that has ended may be gone.
func (j *judge) objectDifferences(k key, want object, live *unstructured.Unstructured, allowed digests) []string {
	if live != nil {
		return differences(want, live.Object, allowed)
	}
	j.mu.Lock()
	ran := slices.Clone(j.finished[k])
	j.mu.Unlock()
	for _, o := range ran {
		if len(differences(want, o.Object, j.images.had)) == 0 {
			return nil
		}
	}
	return []string{"is not there"}
}

// wrong lists the differences of the cluster from git's newest commit, by target.
func (j *judge) wrong() map[target][]string {
	h := j.repo.head()
	found := map[target][]string{}
	for _, environment := range environments {
		declared := map[key]bool{}
		for _, pipeline := range pipelines {
			t := target{pipeline, environment}
			all := j.targetWrong(t, h)
			for k := range h.model.objects(t) {
				declared[k] = true
			}
			if len(all) > 0 {
				found[t] = all
			}
		}
		for kind := range resources {
			for _, k := range j.cluster.keys(kind) {
				o := j.cluster.newest(k).object
				if k.namespace != namespace(environment) || o == nil || declared[k] || k.name == "default" || k.name == "kube-root-ca.crt" {
					continue
				}
				found[targetOf(k)] = append(found[targetOf(k)], k.String()+" is there and not in git")
			}
		}
	}
	return found
}

func (j *judge) targetWrong(t target, h head) []string {
	var wrong []string
	record := j.cluster.newest(t.record()).object
	drifted := driftedObjects(record)
	excused := false
	wanted := h.model.objects(t)
	for _, k := range slices.SortedFunc(maps.Keys(wanted), func(a, b key) int { return strings.Compare(a.String(), b.String()) }) {
		live := j.cluster.newest(k).object
		var has []string
		for _, d := range j.objectDifferences(k, wanted[k], live, j.allowed(t, live)) {
			has = append(has, fmt.Sprintf("%s %s", k, d))
		}
		j.mu.Lock()
		at, edited := j.edited[k]
		switch {
		case edited && drifted[k]: // also where it is equal and no field of it is syncer's
			has, excused = nil, true
		case len(has) == 0 && time.Since(at) > noticed && !byHand(live):
			delete(j.edited, k)
		case len(has) == 0:
		case edited:
			has = append(has, fmt.Sprintf("%s was changed by hand, and the record does not say so", k))
		}
		j.mu.Unlock()
		wrong = append(wrong, has...)
	}
	return append(wrong, j.recordWrong(t, h, record, excused)...)
}

// allowed returns the digests that an object may have: for pinned tags the digest of its pin, and for followed tags any
// digest that the tag had, but only the newest when the tag moved while no fault was in force.
func (j *judge) allowed(t target, live *unstructured.Unstructured) digests {
	return func(reference, digest string) bool {
		if t.environment == prod {
			j.mu.Lock()
			pin, ok := j.pins[pinned{t, reference}]
			j.mu.Unlock()
			if ok {
				return digest == pin
			}
		}
		if must := j.followed(t, reference); must != "" {
			return digest == must
		}
		return j.images.had(reference, digest)
	}
}

// followed returns the digest that a reference must have where tags are followed: the tag moved while the target used
// it, and after the target had checked it. "": any digest that the tag has had is valid, as after a rollback.
func (j *judge) followed(t target, ref string) string {
	newest := j.images.newest(ref)
	if t.environment == prod || newest.digest == "" {
		return ""
	}
	for _, h := range j.repo.since(newest.at.Add(-interval)) {
		if s, ok := h.model[t.pipeline]; !ok || reference(t.pipeline, s.Tag) != ref {
			return ""
		}
	}
	j.mu.Lock()
	touched := j.touched[t.record()]
	j.mu.Unlock()
	record := at(j.cluster.history(t.record()), newest.at)
	if record == nil || touched.After(newest.at.Add(-interval)) {
		return ""
	}
	entries, _, _ := unstructured.NestedSlice(record.Object, "spec", "images")
	for _, entry := range entries {
		pin, _ := entry.(object)
		if pin["reference"] == ref && pin["unusedSince"] == nil && pin["seen"] == pin["digest"] {
			return newest.digest
		}
	}
	return ""
}

// recordWrong lists the wrong statements of a record. excused: an object was changed by hand, and is reported.
func (j *judge) recordWrong(t target, h head, record *unstructured.Unstructured, excused bool) []string {
	_, there := h.model[t.pipeline]
	if !there {
		if record == nil || condition(record, "Ready").reason == "Removed" {
			return nil
		}
		return []string{"the record does not say that the target left git: " + describe(record)}
	}
	if record == nil {
		return []string{"there is no record"}
	}
	c := claimOf(record)
	applied, known := j.repo.at(c.commit)
	switch {
	case !known:
		return []string{"the record speaks of an unknown commit: " + describe(record)}
	case !reflect.DeepEqual(applied.objects(t), h.model.objects(t)):
		return []string{"the record speaks of another commit: " + describe(record)}
	case excused || condition(record, "Ready").reason == "Progressing" || c.ready:
		return nil
	default:
		return []string{"the record does not say Ready: " + describe(record)}
	}
}

// settle waits until the cluster equals git, at most within from a time on. It calls step, if not nil, repeatedly
// meanwhile. It reports whether the cluster became equal; if not, that is a violation.
func (j *judge) settle(ctx context.Context, since time.Time, what string, step func(context.Context) error) (bool, error) {
	var wrong map[target][]string
	var equal time.Time // since when it is equal; zero: it is not
	for {
		if step != nil {
			if err := step(ctx); err != nil {
				return false, err
			}
		}
		wrong = j.wrong()
		switch {
		case len(wrong) > 0:
			equal = time.Time{}
		case equal.IsZero():
			equal = time.Now()
		case time.Since(equal) > stays:
			j.journal.say("equal to %s %.1f s after %s", short(j.repo.head().commit), equal.Sub(since).Seconds(), what)
			return true, nil
		}
		if len(wrong) > 0 && time.Since(since) > within {
			break
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
	for t, w := range wrong {
		j.violated("not-equal", fmt.Sprintf("%s is not what %s says %s after %s: %s", t, short(j.repo.head().commit), within, what, strings.Join(w, "; ")), t, map[string][]byte{})
	}
	return false, j.late(ctx, since, what, step)
}

// late waits some more, to distinguish a late result from none.
func (j *judge) late(ctx context.Context, since time.Time, what string, step func(context.Context) error) error {
	for time.Since(since) < within+30*time.Second {
		if step != nil {
			if err := step(ctx); err != nil {
				return err
			}
		}
		if len(j.wrong()) == 0 {
			j.journal.say("it came to be equal %.1f s after %s", time.Since(since).Seconds(), what)
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
	j.journal.say("it is still not equal %.0f s after %s", time.Since(since).Seconds(), what)
	return nil
}

// violated notes a violation with the evidence about its target.
func (j *judge) violated(invariant, what string, t target, evidence map[string][]byte) {
	h := j.repo.head()
	var all []string
	for _, place := range j.repo.since(time.Now().Add(-5 * time.Minute)) {
		state, err := yaml.Marshal(place.model[t.pipeline])
		if err != nil {
			state = []byte(err.Error())
		}
		all = append(all, fmt.Sprintf("%s %s %s", place.at.UTC().Format("15:04:05.000"), place.commit, strings.ReplaceAll(string(state), "\n", " ")))
	}
	evidence["git.txt"] = []byte(strings.Join(all, "\n") + "\n")
	var live, earlier strings.Builder
	keys := slices.Collect(maps.Keys(h.model.objects(t)))
	for _, k := range append(keys, t.record()) {
		fmt.Fprintf(&live, "---\n# %s\n%s", k, text(j.cluster.newest(k).object))
		for _, v := range j.cluster.history(k) {
			fmt.Fprintf(&earlier, "---\n# %s revision %d at %s\n%s", k, v.revision, v.at.UTC().Format("15:04:05.000"), text(v.object))
		}
	}
	evidence["now.yaml"], evidence["history.yaml"] = []byte(live.String()), []byte(earlier.String())
	maps.Copy(evidence, j.logs())
	j.journal.violated(invariant, what, evidence)
}

func text(o *unstructured.Unstructured) []byte {
	if o == nil {
		return []byte("# it is not there\n")
	}
	out, err := yaml.Marshal(o.Object)
	if err != nil {
		return []byte(err.Error())
	}
	return out
}

func short(commit string) string { return commit[:min(8, len(commit))] }

// targetOf returns the target that an object belongs to, by its name.
func targetOf(k key) target {
	pipeline, _, _ := strings.Cut(k.name, "-")
	return target{pipeline, strings.TrimPrefix(k.namespace, "soak-")}
}

func recordTarget(k key) target {
	pipeline, environment, _ := strings.Cut(k.name, ".")
	return target{pipeline, environment}
}

// disturb notes whether a fault is in force: syncer may then notice a change late without a violation.
func (j *judge) disturb(on bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.disturbed = on
}
