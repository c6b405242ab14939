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
type Desired struct {
	Target      v1alpha1.Target
	Environment *v1alpha1.Environment
	Cluster     *apply.Cluster
	Record      *v1alpha1.PipelineSync // nil: never deployed
	Snapshot    source.Snapshot
	Overlay     string                    // "": git no longer has this target
	Settings    v1alpha1.PipelineSettings // of pipeline.yaml
	Rules       apply.Rules               // by which its objects are changed
	Level       int                       // the length of the longest chain of targets that it depends on
	Rendered    renderedSet
	Err         error // why it cannot be deployed
}

// renderedSet is the rendered overlay, as one target has it.
type renderedSet struct {
	From *Rendering   // nil: it was not rendered; the same one as before where nothing that it read has changed
	Set  manifest.Set // with tags as git writes them
	// Fields are the image fields that pipeline.yaml names.
	Fields []image.Field
	Refs   []image.Reference
	// Suspects are values that look like references and that nothing names.
	Suspects []image.Suspect
}

// agenda is what one pass has to do, sorted by target.
type Commit struct {
	Targets    []*Desired
	Others     []*Desired     // targets that were not selected
	Deployed   map[string]int // how many targets each environment has, selected or not
	Retired    []*Desired     // targets that left git before, and whose records are still there
	Incomplete []error        // environments whose cluster cannot be reached, or whose records cannot be read
}

// plan finds the targets of a snapshot and of the records, and renders them. Errors of one target are kept with it.
func (r *Runner) plan(ctx context.Context, snap source.Snapshot, selection Selection) (*Commit, error) {
	environments, err := r.Config.Select(selection.Environments)
	if err != nil {
		return nil, err
	}
	pipelines, err := r.discover(snap)
	if err != nil {
		return nil, err
	}
	a := &Commit{Deployed: map[string]int{}}
	known := map[string]bool{}
	reads := r.read(ctx, environments, pipelines, snap)
	for i, environment := range environments {
		if err := reads[i].err; err != nil {
			a.Incomplete = append(a.Incomplete, fmt.Errorf("environment %s: %w", environment.Name, err))
		}
		for _, w := range reads[i].works {
			if w.Overlay == "" && w.Record.Status.RemovedAt != nil {
				a.Retired = append(a.Retired, w)
				continue
			}
			known[w.Target.Pipeline] = true
			if w.Record != nil {
				a.Deployed[environment.Name]++
			}
			if len(selection.Pipelines) == 0 || slices.Contains(selection.Pipelines, w.Target.Pipeline) {
				a.Targets = append(a.Targets, w)
			} else {
				a.Others = append(a.Others, w)
			}
		}
	}
	if err := checkSelection(selection, pipelines, known, a); err != nil {
		return nil, err
	}
	slices.SortFunc(a.Targets, func(x, y *Desired) int { return x.Target.Compare(y.Target) })
	// Those that were not selected too: an object may have moved to one of them, and is then not to be pruned.
	r.rendered.render(a.All(), snap.Files)
	a.claim()
	a.orderByDependency()
	return a, nil
}

// discover finds the pipelines of a snapshot in every environment of the configuration.
func (r *Runner) discover(snap source.Snapshot) ([]*Pipeline, error) {
	all, err := r.Config.Select(nil)
	if err != nil {
		return nil, err
	}
	pipelines, err := discover(snap.Files, r.Config.Source.Layout, v1alpha1.Names(all))
	if err != nil {
		return nil, fmt.Errorf("commit %.8s: %w", snap.Commit, err)
	}
	return pipelines, nil
}

func checkSelection(selection Selection, pipelines []*Pipeline, known map[string]bool, a *Commit) error {
	for _, name := range selection.Pipelines {
		exists := slices.ContainsFunc(pipelines, func(p *Pipeline) bool { return p.Name == name })
		switch {
		case !exists && !known[name]:
			all := make([]string, len(pipelines))
			for i, p := range pipelines {
				all[i] = p.Name
			}
			return fmt.Errorf("there is no pipeline %q in the repository; it has %s", name, strings.Join(all, ", "))
		case !known[name] && len(a.Incomplete) == 0:
			return fmt.Errorf("pipeline %s has no overlay for %s", name, strings.Join(selection.Environments, " and "))
		}
	}
	return nil
}

// environmentRead is what is known of the targets of an environment.
type environmentRead struct {
	works []*Desired
	err   error
}

// read joins what git has with the records of each environment. They are read side by side: a cluster that does not answer
// is waited for once, and not once for each of its environments.
func (r *Runner) read(ctx context.Context, environments []*v1alpha1.Environment, pipelines []*Pipeline, snap source.Snapshot) []environmentRead {
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
func (r *Runner) targetsOf(ctx context.Context, environment *v1alpha1.Environment, pipelines []*Pipeline, snap source.Snapshot) ([]*Desired, error) {
	cluster, err := r.clusters.Of(environment)
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
	var works []*Desired
	for _, p := range pipelines {
		record := byPipeline[p.Name]
		overlay, ok := p.Overlays[environment.Name]
		if !ok && (record == nil || record.Spec.Owner != r.Config.Name || record.Status.RemovedAt != nil) {
			continue // not meant for this environment
		}
		w := r.newWork(p, environment, snap)
		w.Record = record
		account := w.Settings.ServiceAccount
		if !ok {
			account = record.Spec.ServiceAccount // that applied what may be deleted, whatever pipeline.yaml says by now, or fails to say
		}
		if w.Cluster, err = cluster.As(account); err != nil {
			return works, err
		}
		delete(byPipeline, p.Name)
		switch {
		case record != nil && record.Spec.Owner != r.Config.Name:
			w.Err = fmt.Errorf("the record %s/%s belongs to the configuration %q, not to %q; rename the pipeline, or give this configuration a namespace of its own", cluster.Namespace(), record.Name, record.Spec.Owner, r.Config.Name)
		case !ok:
			w.Overlay = p.Expected[environment.Name]
			w.Err = &missingOverlayError{overlay: w.Overlay, target: w.Target}
		default:
			w.Overlay = overlay
		}
		works = append(works, w)
	}
	for name, record := range byPipeline {
		if record.Spec.Owner == r.Config.Name {
			acting, err := cluster.As(record.Spec.ServiceAccount)
			if err != nil {
				return works, err
			}
			works = append(works, &Desired{
				Target:      v1alpha1.Target{Pipeline: name, Environment: environment.Name},
				Environment: environment, Cluster: acting, Record: record, Snapshot: snap, Rules: environmentRules(environment),
			})
		}
	}
	return works, nil
}

func (r *Runner) newWork(p *Pipeline, environment *v1alpha1.Environment, snap source.Snapshot) *Desired {
	w := &Desired{
		Target:      v1alpha1.Target{Pipeline: p.Name, Environment: environment.Name},
		Environment: environment, Snapshot: snap, Overlay: p.Overlays[environment.Name],
		Settings: p.Settings[environment.Name].PipelineSettings,
	}
	rules, ruleErr := rulesOf(w.Settings, environment)
	w.Rules = rules
	if w.Err = p.Settings[environment.Name].Err; w.Err == nil {
		w.Rendered.Fields, w.Err = imageFields(w.Settings.Images.Fields)
	}
	if w.Err == nil {
		w.Err = ruleErr
	}
	if from := environment.Images.PromoteFrom; w.Err == nil && from != "" && w.policy() == v1alpha1.Track {
		w.Err = fmt.Errorf("%s: images.policy: promoted digests do not follow tags, and %s promotes from %s; use policy Pin", settingsFile, environment.Name, from)
	}
	if !v1alpha1.ValidPipelineName(p.Name) {
		w.Err = fmt.Errorf("the folder's name %q cannot name a record; use lower-case letters, digits, dashes and dots", p.Name)
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

// rulesOf returns the rules by which the objects of a target are changed. They are valid but for Ignore where there is an
// error.
func rulesOf(settings v1alpha1.PipelineSettings, environment *v1alpha1.Environment) (rules apply.Rules, err error) {
	rules = environmentRules(environment)
	rules.OnRunning, rules.Rerun = cmp.Or(settings.OnRunning, rules.OnRunning), settings.Rerun
	rules.Ignore, err = ignoreRules(settings.Ignore)
	return rules, err
}

// environmentRules are those of a target for which git has no settings any more.
func environmentRules(environment *v1alpha1.Environment) apply.Rules {
	return apply.Rules{OnRunning: environment.OnRunning, Propagation: environment.Prune.Propagation}
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

// claim refuses objects that two targets of one cluster name. The one that has the object keeps it.
func (a *Commit) claim() {
	type place struct {
		cluster *apply.Cluster
		key     manifest.Key
	}
	claims := map[place][]*Desired{}
	ids := map[manifest.Key]manifest.ID{}
	for _, w := range a.All() {
		for _, obj := range w.Rendered.Set {
			id := manifest.IDOf(obj)
			at := place{w.Cluster.Server(), placed(id)}
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
			others := slices.DeleteFunc(slices.Clone(rivals), func(o *Desired) bool { return o == w })
			w.Err = errors.Join(w.Err, fmt.Errorf("%s is in %s and in %s; keep it in one of the two", ids[at.key], w.Target, others[0].Target))
		}
	}
}

func (w *Desired) owns(key manifest.Key) bool {
	if w.Record == nil {
		return false
	}
	return slices.ContainsFunc(w.Record.Status.Inventory, func(e v1alpha1.InventoryEntry) bool {
		return placed(e.ID()) == key
	})
}

// placed is the key of an object where git names no namespace and the inventory says where it is.
func placed(id manifest.ID) manifest.Key {
	id.Namespace = cmp.Or(id.Namespace, metav1.NamespaceDefault)
	return id.Key()
}

// neighbours are the targets of each cluster whose sets at this commit are known.
func (a *Commit) neighbours() map[*apply.Cluster]apply.Neighbours {
	out := map[*apply.Cluster]apply.Neighbours{}
	for _, w := range a.All() {
		if w.Err != nil || w.Rendered.Set == nil && w.Overlay != "" || w.Cluster == nil {
			continue
		}
		n := out[w.Cluster.Server()]
		n.Add(w.Cluster.Namespace(), w.Target, w.Rendered.Set)
		out[w.Cluster.Server()] = n
	}
	return out
}

// brings collects, for each cluster, the namespaces and kinds that its targets bring.
func (a *Commit) brings() map[*apply.Cluster]apply.Brings {
	sets := map[*apply.Cluster][]manifest.Set{}
	for _, w := range a.Targets {
		sets[w.Cluster.Server()] = append(sets[w.Cluster.Server()], w.Rendered.Set)
	}
	out := map[*apply.Cluster]apply.Brings{}
	for cluster, all := range sets {
		out[cluster] = apply.BroughtBy(all...)
	}
	return out
}
