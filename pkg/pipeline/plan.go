package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/panics"
	"github.com/syncerdev/syncer/pkg/source"
)

// work is one target on its way through the rooms. Each room fills in its part; err stops it.
type work struct {
	target      v1alpha1.Target
	environment *v1alpha1.Environment
	cluster     *apply.Cluster
	record      *v1alpha1.PipelineSync // nil: never deployed
	snapshot    source.Snapshot
	overlay     string // "": git no longer has this target
	folder      string // of the pipeline
	settings    pipelineSettings
	fields      []image.Field
	ignore      []apply.Ignore
	level       int // how long the chain of targets is that it depends on

	rendering *rendering // of the overlay; the same one as before where nothing that it read has changed

	plain manifest.Set      // what git says, tags as written
	refs  []image.Reference // its image references
	// suspects are values that may be references that nothing names.
	suspects []image.Suspect
	err      error
	// same says that git gives the target just what it gave at the last pass of this process: the overlay reads the same
	// files, and pipeline.yaml means the same. It says nothing of whether that pass carried it out.
	same bool

	mark *commitMark // says in the record that the commit is on its way; nil: nobody does

	moved   []string // references whose tag was found by this pass to have moved
	written bool     // this pass wrote the record's spec, and with it the digests of those

	credentials *image.Credentials // of its pull secrets, as far as they were read
}

// agenda is what one pass has to do, sorted by target.
type agenda struct {
	works    []*work
	others   []*work        // targets that were not selected
	deployed map[string]int // how many targets each environment has, selected or not
	retired  []*work        // targets that left git before, and whose records are still there
	lost     []error        // environments whose cluster cannot be reached, or whose records cannot be read
}

// plan finds the targets of a snapshot and of the records, and renders them. Errors of one target are kept with it.
func (r *Runner) plan(ctx context.Context, snap source.Snapshot, selection Selection) (*agenda, error) {
	environments, err := r.environments(selection.Environments)
	if err != nil {
		return nil, err
	}
	pipelines, err := r.discover(snap)
	if err != nil {
		return nil, err
	}
	a := &agenda{deployed: map[string]int{}}
	known := map[string]bool{}
	reads := r.read(ctx, environments, pipelines, snap)
	for i, environment := range environments {
		if err := reads[i].err; err != nil {
			a.lost = append(a.lost, fmt.Errorf("environment %s: %w", environment.Name, err))
		}
		for _, w := range reads[i].works {
			if w.overlay == "" && w.record.Status.RemovedAt != nil {
				a.retired = append(a.retired, w)
				continue
			}
			known[w.target.Pipeline] = true
			if w.record != nil {
				a.deployed[environment.Name]++
			}
			if len(selection.Pipelines) == 0 || slices.Contains(selection.Pipelines, w.target.Pipeline) {
				a.works = append(a.works, w)
			} else {
				a.others = append(a.others, w)
			}
		}
	}
	if err := checkSelection(selection, pipelines, known, a); err != nil {
		return nil, err
	}
	slices.SortFunc(a.works, func(x, y *work) int { return compareTargets(x.target, y.target) })
	// Those that were not selected too: an object may have moved to one of them, and is then not to be pruned.
	r.rendered.render(a.everyone(), snap.Files)
	a.claim()
	a.orderByDependency()
	return a, nil
}

// discover finds the pipelines of a snapshot in every environment of the configuration.
func (r *Runner) discover(snap source.Snapshot) ([]*found, error) {
	all, err := r.environments(nil)
	if err != nil {
		return nil, err
	}
	pipelines, err := discover(snap.Files, r.Config.Source.Layout, names(all))
	if err != nil {
		return nil, fmt.Errorf("commit %.8s: %w", snap.Commit, err)
	}
	return pipelines, nil
}

func checkSelection(selection Selection, pipelines []*found, known map[string]bool, a *agenda) error {
	for _, name := range selection.Pipelines {
		exists := slices.ContainsFunc(pipelines, func(p *found) bool { return p.name == name })
		switch {
		case !exists && !known[name]:
			all := make([]string, len(pipelines))
			for i, p := range pipelines {
				all[i] = p.name
			}
			return fmt.Errorf("there is no pipeline %q in the repository; it has %s", name, strings.Join(all, ", "))
		case !known[name] && len(a.lost) == 0:
			return fmt.Errorf("pipeline %s has no overlay for %s", name, strings.Join(selection.Environments, " and "))
		}
	}
	return nil
}

// environmentRead is what is known of the targets of an environment.
type environmentRead struct {
	works []*work
	err   error
}

// read joins what git has with the records of each environment. They are read side by side: a cluster that does not answer
// is waited for once, and not once for each of its environments.
func (r *Runner) read(ctx context.Context, environments []*v1alpha1.Environment, pipelines []*found, snap source.Snapshot) []environmentRead {
	reads := make([]environmentRead, len(environments))
	var g panics.Group
	for i, environment := range environments {
		g.Go(func() error {
			reads[i].err = r.guarded(v1alpha1.Target{Environment: environment.Name}, func() (err error) {
				reads[i].works, err = r.targetsOf(ctx, environment, pipelines, snap)
				return err
			})
			return nil
		})
	}
	_ = g.Wait() // each keeps its own error
	return reads
}

// recordsTimeout bounds how long an API server that hangs keeps a commit from every other cluster.
const recordsTimeout = 20 * time.Second

// targetsOf joins what git has for an environment with what its records say was deployed there. Without a readable
// cluster there is no work for it.
func (r *Runner) targetsOf(ctx context.Context, environment *v1alpha1.Environment, pipelines []*found, snap source.Snapshot) ([]*work, error) {
	cluster, err := r.cluster(environment)
	if err != nil {
		return nil, err
	}
	reading, enough := context.WithTimeout(ctx, recordsTimeout)
	defer enough()
	records, err := cluster.Records(reading)
	if err != nil {
		return nil, err
	}
	byPipeline := map[string]*v1alpha1.PipelineSync{}
	for _, record := range records {
		if record.Spec.Environment == environment.Name {
			byPipeline[record.Spec.Pipeline] = record
		}
	}
	var works []*work
	for _, p := range pipelines {
		record := byPipeline[p.name]
		overlay, ok := p.overlays[environment.Name]
		if !ok && (record == nil || record.Spec.Owner != r.Config.Name || record.Status.RemovedAt != nil) {
			continue // not meant for this environment
		}
		w := r.newWork(p, environment, snap)
		w.record = record
		account := w.settings.ServiceAccount
		if !ok {
			account = record.Spec.ServiceAccount // that applied what may be deleted, whatever pipeline.yaml says by now, or fails to say
		}
		if w.cluster, err = cluster.As(account); err != nil {
			return works, err
		}
		delete(byPipeline, p.name)
		switch {
		case record != nil && record.Spec.Owner != r.Config.Name:
			w.err = fmt.Errorf("the record %s/%s belongs to the configuration %q, not to %q; rename the pipeline, or give this configuration a namespace of its own", cluster.Namespace(), record.Name, record.Spec.Owner, r.Config.Name)
		case !ok:
			w.overlay = p.expected[environment.Name]
			w.err = &missingOverlayError{overlay: w.overlay, target: w.target}
		default:
			w.overlay = overlay
		}
		works = append(works, w)
	}
	for name, record := range byPipeline {
		if record.Spec.Owner == r.Config.Name {
			acting, err := cluster.As(record.Spec.ServiceAccount)
			if err != nil {
				return works, err
			}
			works = append(works, &work{
				target:      v1alpha1.Target{Pipeline: name, Environment: environment.Name},
				environment: environment, cluster: acting, record: record, snapshot: snap,
			})
		}
	}
	return works, nil
}

func (r *Runner) newWork(p *found, environment *v1alpha1.Environment, snap source.Snapshot) *work {
	w := &work{
		target:      v1alpha1.Target{Pipeline: p.name, Environment: environment.Name},
		environment: environment, snapshot: snap, overlay: p.overlays[environment.Name],
		settings: p.settings[environment.Name], folder: p.folders[environment.Name],
	}
	if w.err = w.settings.err; w.err == nil {
		w.fields, w.err = imageFields(w.settings.Images.Fields)
	}
	if w.err == nil {
		w.ignore, w.err = ignoreRules(w.settings.Ignore)
	}
	if from := environment.Images.PromoteFrom; w.err == nil && from != "" && w.policy() == v1alpha1.Track {
		w.err = fmt.Errorf("%s: images.policy: promoted digests do not follow tags, and %s promotes from %s; use policy Pin", settingsFile, environment.Name, from)
	}
	if !v1alpha1.ValidPipelineName(p.name) {
		w.err = fmt.Errorf("the folder's name %q cannot name a record; use lower-case letters, digits, dashes and dots", p.name)
	}
	return w
}

// missingOverlayError says that a pipeline still stands and one of its overlays is gone.
type missingOverlayError struct {
	overlay string
	target  v1alpha1.Target
}

func (e *missingOverlayError) Error() string {
	return fmt.Sprintf("the overlay %s is gone while the pipeline's folder stands; restore it, or, to delete what runs there, add the trailer `Syncer-Allow-Prune: %s` to a commit message", e.overlay, e.target)
}

func imageFields(fields []v1alpha1.ImageField) ([]image.Field, error) {
	out := make([]image.Field, len(fields))
	for i, field := range fields {
		var err error
		if out[i], err = image.NewField(field.Group, field.Kind, field.Path); err != nil {
			return nil, fmt.Errorf("%s: images.fields[%d]: %w", settingsFile, i, err)
		}
	}
	return out, nil
}

func ignoreRules(rules []v1alpha1.IgnoreRule) ([]apply.Ignore, error) {
	out := make([]apply.Ignore, len(rules))
	for i, rule := range rules {
		fields := v1alpha1.FieldRule{Group: rule.Group, Kind: rule.Kind, Namespace: rule.Namespace, Name: rule.Name, Paths: rule.Paths}
		var err error
		if out[i], err = fieldRule(fmt.Sprintf("%s: ignore[%d]", settingsFile, i), fields); err != nil {
			return nil, err
		}
		out[i].Managers = rule.Managers
	}
	return out, nil
}

func fieldRule(place string, rule v1alpha1.FieldRule) (apply.Ignore, error) {
	out := apply.Ignore{Place: place, Group: rule.Group, Kind: rule.Kind, Namespace: rule.Namespace, Name: rule.Name}
	for n, text := range rule.Paths {
		path, err := manifest.ParsePath(text)
		if err != nil {
			return out, fmt.Errorf("%s.paths[%d]: %w", place, n, err)
		}
		out.Paths = append(out.Paths, path)
	}
	return out, nil
}

// rules are how the objects of a target are changed.
func (w *work) rules() apply.Rules {
	return apply.Rules{
		OnRunning: cmp.Or(w.settings.OnRunning, w.environment.OnRunning), Rerun: w.settings.Rerun,
		Propagation: w.environment.Prune.Propagation, Ignore: w.ignore,
	}
}

// claim refuses objects that two targets of one cluster name. The one that has the object keeps it.
func (a *agenda) claim() {
	type place struct {
		cluster *apply.Cluster
		key     manifest.Key
	}
	claims := map[place][]*work{}
	ids := map[manifest.Key]manifest.ID{}
	for _, w := range a.everyone() {
		for _, obj := range w.plain {
			id := manifest.IDOf(obj)
			at := place{w.cluster.Server(), placed(id)}
			ids[at.key] = id
			if !slices.Contains(claims[at], w) { // one that writes an object both ways is no rival of itself
				claims[at] = append(claims[at], w)
			}
		}
	}
	for at, rivals := range claims {
		if len(rivals) < 2 {
			continue
		}
		for _, w := range rivals {
			if w.owns(at.key) {
				continue
			}
			others := slices.DeleteFunc(slices.Clone(rivals), func(o *work) bool { return o == w })
			w.err = errors.Join(w.err, fmt.Errorf("%s is in %s and in %s; keep it in one of the two", ids[at.key], w.target, others[0].target))
		}
	}
}

func (w *work) owns(key manifest.Key) bool {
	if w.record == nil {
		return false
	}
	return slices.ContainsFunc(w.record.Status.Inventory, func(e v1alpha1.InventoryEntry) bool {
		return placed(entryID(e)) == key
	})
}

// placed is the key of an object where git names no namespace and the inventory says where it is.
func placed(id manifest.ID) manifest.Key {
	id.Namespace = cmp.Or(id.Namespace, metav1.NamespaceDefault)
	return id.Key()
}

// neighbours are the targets of each cluster whose sets at this commit are known.
func (a *agenda) neighbours() map[*apply.Cluster]apply.Neighbours {
	out := map[*apply.Cluster]apply.Neighbours{}
	for _, w := range a.everyone() {
		if w.err != nil || w.plain == nil && w.overlay != "" || w.cluster == nil {
			continue
		}
		n := out[w.cluster.Server()]
		n.Add(w.cluster.Namespace(), w.target, w.plain)
		out[w.cluster.Server()] = n
	}
	return out
}

// brings collects, for each cluster, the namespaces and kinds that its targets bring.
func (a *agenda) brings() map[*apply.Cluster]apply.Brings {
	sets := map[*apply.Cluster][]manifest.Set{}
	for _, w := range a.works {
		sets[w.cluster.Server()] = append(sets[w.cluster.Server()], w.plain)
	}
	out := map[*apply.Cluster]apply.Brings{}
	for cluster, all := range sets {
		out[cluster] = apply.BroughtBy(all...)
	}
	return out
}
