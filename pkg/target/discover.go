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
	Overlays map[string]string             // environment -> overlay, for existing ones
	Expected map[string]string             // environment -> where its overlay would be
	Folders  map[string]string             // environment -> the pipeline's own folder
	settings map[string]settings           // environment -> pipeline.yaml, or why it cannot be read
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
	byName := map[string]*Pipeline{}
	for _, environment := range environments {
		pattern := strings.ReplaceAll(strings.Trim(layout, "/"), environmentHole, environment)
		if err := discoverIn(files, pattern, environment, byName); err != nil {
			return nil, err
		}
	}
	var names []string
	overlays := 0
	for name, pipeline := range byName {
		names = append(names, name)
		overlays += len(pipeline.Overlays)
	}
	if overlays == 0 {
		return nil, fmt.Errorf("the repository has no overlay at %s for %s; mend source.layout or the repository (nothing was deleted)", layout, strings.Join(environments, ", "))
	}
	slices.Sort(names)
	all := make([]*Pipeline, len(names))
	for i, name := range names {
		all[i] = byName[name]
	}
	return all, nil
}

func discoverIn(files fs.FS, pattern, environment string, byName map[string]*Pipeline) error {
	before, after, _ := strings.Cut(pattern, pipelineHole)
	folder, prefix := path.Split(before)
	suffix, rest, _ := strings.Cut(after, "/")
	entries, err := fs.ReadDir(files, path.Clean("./"+folder))
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
		if !ok || name == "" || strings.HasPrefix(name, ".") || !isFolder(files, at) {
			continue
		}
		if byName[name] == nil {
			byName[name] = newPipeline(name)
		}
		byName[name].note(files, environment, at, rest)
	}
	return nil
}

// discoverOne is discover for one target, whether its folder exists or not.
func discoverOne(files fs.FS, layout string, target v1alpha1.Target) *Pipeline {
	pattern := strings.ReplaceAll(strings.Trim(layout, "/"), environmentHole, target.Environment)
	_, after, _ := strings.Cut(pattern, pipelineHole)
	_, rest, _ := strings.Cut(after, "/")
	pipeline := newPipeline(target.Pipeline)
	pipeline.note(files, target.Environment, Folder(layout, target), rest)
	return pipeline
}

// Folder is the folder of a target's pipeline in the repository: pipelines/session-enrichment.
func Folder(layout string, target v1alpha1.Target) string {
	pattern := strings.ReplaceAll(strings.Trim(layout, "/"), environmentHole, target.Environment)
	before, after, _ := strings.Cut(pattern, pipelineHole)
	suffix, _, _ := strings.Cut(after, "/")
	return path.Clean(before + target.Pipeline + suffix)
}

func newPipeline(name string) *Pipeline {
	return &Pipeline{
		Name: name, Overlays: map[string]string{}, Expected: map[string]string{}, Folders: map[string]string{},
		settings: map[string]settings{}, decoded: map[string]*v1alpha1.Pipeline{},
	}
}

// note adds the overlays of a folder, and of the rest of the layout below it, for an environment.
func (p *Pipeline) note(files fs.FS, environment, at, rest string) {
	overlay := path.Join(at, rest)
	p.Expected[environment] = overlay
	p.Folders[environment] = at
	if isFolder(files, overlay) || isLostLink(files, overlay) {
		p.Overlays[environment] = overlay
	}
	p.settings[environment] = p.read(files, path.Join(at, SettingsFile), environment)
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

func (p *Pipeline) read(files fs.FS, file, environment string) settings {
	decoded, ok := p.decoded[file]
	if !ok {
		data, err := fs.ReadFile(files, file)
		if errors.Is(err, fs.ErrNotExist) {
			return settings{}
		}
		if err != nil {
			return settings{err: err}
		}
		if render.IsPointer(data) {
			return settings{err: fmt.Errorf("%s: %w", file, render.ErrPointer)}
		}
		if decoded, err = v1alpha1.DecodePipeline(file, data); err != nil {
			return settings{err: err}
		}
		p.decoded[file] = decoded
	}
	return settings{values: decoded.For(environment)}
}
