package target

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

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

// discover finds the pipelines that a layout names, sorted. A folder without any overlay is among them: it may have had
// one. A repository without any pipeline is an error, because otherwise syncer would delete everything.
func discover(files fs.FS, layout string, environments []string) ([]*Pipeline, error) {
	d := &discovery{files: files, places: newPlaces(layout, environments), byName: map[string]*Pipeline{}}
	if !d.places.perEnvironment {
		environments = []string{""}
	}
	for _, environment := range environments {
		if err := d.in(environment); err != nil {
			return nil, err
		}
	}
	var names []string
	overlays := 0
	for name, pipeline := range d.byName {
		names = append(names, name)
		overlays += len(pipeline.Overlays)
	}
	if overlays == 0 {
		return nil, fmt.Errorf("the repository has no overlay at %s for %s; mend source.layout or the repository (nothing was deleted)", layout, strings.Join(d.places.environments, ", "))
	}
	slices.Sort(names)
	all := make([]*Pipeline, len(names))
	for i, name := range names {
		all[i] = d.byName[name]
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
	byName map[string]*Pipeline
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
		if d.byName[name] == nil {
			d.byName[name] = newPipeline(d.files, name, d.places.rest)
		}
		d.byName[name].folders[environment] = at
		for _, environment := range d.candidates(environment, at) {
			d.byName[name].note(environment)
		}
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
		settings: map[string]settings{}, decoded: map[string]*v1alpha1.Pipeline{},
	}
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
		if known, err = v1alpha1.DecodePipeline(file, data); err != nil {
			return settings{err: err}
		}
		decoded[file] = known
	}
	return settings{values: known.For(environment)}
}
