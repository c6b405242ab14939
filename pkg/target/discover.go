package target

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/render"
)

// Pipeline is a pipeline of the repository.
type Pipeline struct {
	Name     string
	Overlays map[string]string // environment -> overlay, for existing ones

	files    fs.FS
	folders  map[string]string             // environment -> the pipeline's own folder; "": of every environment
	rest     string                        // of the layout below that folder
	settings map[string]settings           // environment -> pipeline.yaml, for existing overlays
	decoded  map[string]*v1alpha1.Pipeline // file -> content, so that each is read once
	found    []found

	mu      sync.Mutex
	desired map[string]*Desired // environment -> the desired state of the target, without a commit
}

// found is a folder of a pipeline.
type found struct {
	environment string // "": every environment
	at          string
	identity    string // names its content; "": nothing does, or it has links, or a file that cannot be read
}

// settings are the settings of pipeline.yaml for one environment, or the error of reading them.
type settings struct {
	values v1alpha1.PipelineSettings
	err    error
}

const (
	pipelineHole    = "{pipeline}"
	environmentHole = "{environment}"
	// SettingsFile is the name of the optional file with the settings of a pipeline.
	SettingsFile = "pipeline.yaml"
)

// largestSettings is above any pipeline.yaml in bytes.
const largestSettings = 1 << 20

// discover finds the pipelines that a layout names, sorted. A folder without any overlay is among them: it may have had
// one. A repository without any pipeline is an error, because otherwise syncer would delete everything. Pipelines of an
// earlier commit that did not change are used again.
func discover(files fs.FS, layout string, environments []string, before map[string]*Pipeline) ([]*Pipeline, error) {
	d := &discovery{files: files, places: newPlaces(layout, environments), byName: map[string][]found{}}
	if !d.places.perEnvironment {
		environments = []string{""}
	}
	for _, environment := range environments {
		if err := d.in(environment); err != nil {
			return nil, err
		}
	}
	names := slices.Sorted(maps.Keys(d.byName))
	all, overlays := make([]*Pipeline, len(names)), 0
	for i, name := range names {
		all[i] = d.pipeline(name, before[name])
		overlays += len(all[i].Overlays)
	}
	if overlays == 0 {
		return nil, fmt.Errorf("the repository has no overlay at %s for %s; mend source.layout or the repository (nothing was deleted)", layout, strings.Join(d.places.environments, ", "))
	}
	return all, nil
}

// places are where a layout has the overlays of environments.
type places struct {
	environments   []string
	pipelines      string // the part of the layout with the name of the pipeline
	rest           string // the part below it
	perEnvironment bool   // each environment has a folder of its own for a pipeline

	fixed string              // the folders of rest before the one that an environment names
	named map[string][]string // the names of that folder -> the environments
}

func newPlaces(layout string, environments []string) places {
	before, after, _ := strings.Cut(strings.Trim(layout, "/"), pipelineHole)
	suffix, rest, _ := strings.Cut(after, "/")
	p := places{environments: environments, pipelines: before + pipelineHole + suffix, rest: rest}
	p.perEnvironment = strings.Contains(p.pipelines, environmentHole)
	elements := strings.Split(rest, "/")
	at := slices.IndexFunc(elements, func(element string) bool { return strings.Contains(element, environmentHole) })
	if p.perEnvironment || at < 0 {
		return p
	}
	p.fixed, p.named = path.Join(elements[:at]...), map[string][]string{}
	for _, environment := range environments {
		name := in(elements[at], environment)
		p.named[name] = append(p.named[name], environment)
	}
	return p
}

// in is a part of a layout in an environment.
func in(layout, environment string) string {
	return strings.ReplaceAll(layout, environmentHole, environment)
}

// discovery looks for pipelines in a repository.
type discovery struct {
	files  fs.FS
	places places
	byName map[string][]found
}

// pipeline returns what was found of a pipeline: the one of an earlier commit, where it did not change.
func (d *discovery) pipeline(name string, before *Pipeline) *Pipeline {
	folders := d.byName[name]
	if before != nil && before.isStill(folders) {
		before.files = d.files
		return before
	}
	p := newPipeline(d.files, name, d.places.rest)
	for _, f := range folders {
		p.folders[f.environment] = f.at
		leadsElsewhere := render.ThroughLink(d.files, path.Join(f.at, SettingsFile)) || render.ThroughLink(d.files, path.Join(f.at, d.places.fixed))
		for _, environment := range d.candidates(f.environment, f.at) {
			p.note(environment)
			leadsElsewhere = leadsElsewhere || p.settings[environment].err != nil || render.ThroughLink(d.files, p.Expected(environment))
		}
		if leadsElsewhere {
			f.identity = ""
		}
		p.found = append(p.found, f)
	}
	return p
}

// isStill reports whether folders hold the same as when the pipeline was discovered.
func (p *Pipeline) isStill(now []found) bool {
	return slices.Equal(p.found, now) && !slices.ContainsFunc(now, func(f found) bool { return f.identity == "" })
}

// in finds the pipelines of an environment; "": of all, where they share the folders of the pipelines.
func (d *discovery) in(environment string) error {
	before, suffix, _ := strings.Cut(in(d.places.pipelines, environment), pipelineHole)
	folder, prefix := path.Split(before)
	entries, err := fs.ReadDir(d.files, path.Clean("./"+folder))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking for pipelines in %s: %w", folder, err)
	}
	for _, entry := range entries {
		name, ok := strings.CutPrefix(entry.Name(), prefix)
		if ok {
			name, ok = strings.CutSuffix(name, suffix)
		}
		at := path.Join(folder, entry.Name())
		if !ok || name == "" || strings.HasPrefix(name, ".") || !isFolder(d.files, at) {
			continue
		}
		d.byName[name] = append(d.byName[name], found{environment, at, identity(d.files, at)})
	}
	return nil
}

// candidates lists the environments that a pipeline may have overlays for. It reads the folder of the overlays once, and does
// not look for each environment: there may be hundreds, and a pipeline is in few of them.
func (d *discovery) candidates(environment, at string) []string {
	if environment != "" {
		return []string{environment}
	}
	entries, err := fs.ReadDir(d.files, path.Join(at, d.places.fixed))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || d.places.named == nil {
		return d.places.environments // note looks at each
	}
	var out []string
	for _, entry := range entries {
		out = append(out, d.places.named[entry.Name()]...)
	}
	return out
}

// discoverOne is discover for one target, whether its folder exists or not.
func discoverOne(files fs.FS, layout string, target v1alpha1.Target) *Pipeline {
	pipeline := newPipeline(files, target.Pipeline, newPlaces(layout, nil).rest)
	pipeline.folders[target.Environment] = Folder(layout, target)
	pipeline.note(target.Environment)
	return pipeline
}

// Folder is the folder of a target's pipeline in the repository: pipelines/session-enrichment.
func Folder(layout string, target v1alpha1.Target) string {
	return path.Clean(strings.ReplaceAll(in(newPlaces(layout, nil).pipelines, target.Environment), pipelineHole, target.Pipeline))
}

func newPipeline(files fs.FS, name, rest string) *Pipeline {
	return &Pipeline{
		Name: name, Overlays: map[string]string{}, files: files, folders: map[string]string{}, rest: rest,
		settings: map[string]settings{}, decoded: map[string]*v1alpha1.Pipeline{}, desired: map[string]*Desired{},
	}
}

// identity names the content of a folder; "": nothing does.
func identity(files fs.FS, folder string) string {
	known, ok := files.(interface {
		Identity(name string) (id string, isFolder bool, err error)
	})
	if !ok {
		return ""
	}
	id, _, err := known.Identity(folder)
	if err != nil {
		return ""
	}
	return id
}

// Folder is the pipeline's own folder, as an environment has it; empty: it has none.
func (p *Pipeline) Folder(environment string) string {
	if at, ok := p.folders[environment]; ok {
		return at
	}
	return p.folders[""]
}

// Expected is where the overlay of an environment is, or would be; empty: the environment has no folder for the pipeline.
func (p *Pipeline) Expected(environment string) string {
	at := p.Folder(environment)
	if at == "" {
		return ""
	}
	return path.Join(at, in(p.rest, environment))
}

// note adds the overlay of an environment, if it is there.
func (p *Pipeline) note(environment string) {
	overlay := p.Expected(environment)
	if isFolder(p.files, overlay) || isLostLink(p.files, overlay) {
		p.Overlays[environment] = overlay
		p.settings[environment] = p.read(environment, p.decoded)
	}
}

// settingsOf returns the settings for an environment.
func (p *Pipeline) settingsOf(environment string) settings {
	if known, ok := p.settings[environment]; ok || p.Folder(environment) == "" {
		return known
	}
	return p.read(environment, map[string]*v1alpha1.Pipeline{}) // environments are planned side by side
}

func isFolder(files fs.FS, name string) bool {
	info, err := fs.Stat(files, name)
	return err == nil && info.IsDir()
}

// isLostLink reports whether a path is a link that leads to no folder. discover keeps an overlay that is such a link:
// rendering reports its fault.
func isLostLink(files fs.FS, name string) bool {
	info, err := fs.Lstat(files, name)
	return err == nil && info.Mode()&fs.ModeSymlink != 0 && !isFolder(files, name)
}

func (p *Pipeline) read(environment string, decoded map[string]*v1alpha1.Pipeline) settings {
	file := path.Join(p.Folder(environment), SettingsFile)
	known, ok := decoded[file]
	if !ok {
		data, err := fs.ReadFile(p.files, file)
		if errors.Is(err, fs.ErrNotExist) {
			return settings{}
		}
		if err != nil {
			return settings{err: err}
		}
		if render.IsPointer(data) {
			return settings{err: fmt.Errorf("%s: %w", file, render.ErrPointer)}
		}
		if len(data) > largestSettings {
			return settings{err: fmt.Errorf("%s: the file has %d bytes, and may have %d; it holds settings only", file, len(data), largestSettings)}
		}
		if err := (render.Limits{}).CheckYAML(file, data); err != nil {
			return settings{err: err}
		}
		if known, err = v1alpha1.DecodePipeline(file, data); err != nil {
			return settings{err: err}
		}
		decoded[file] = known
	}
	return settings{values: known.For(environment)}
}
