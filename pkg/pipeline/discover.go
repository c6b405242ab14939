package pipeline

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

// found is a pipeline as the repository has it.
type Pipeline struct {
	Name     string
	Overlays map[string]string             // environment -> overlay, for those that are there
	Expected map[string]string             // environment -> where its overlay would be
	Folders  map[string]string             // environment -> the pipeline's own folder
	Settings map[string]Settings           // environment -> pipeline.yaml, or why it cannot be read
	decoded  map[string]*v1alpha1.Pipeline // file -> content, so that each is read once
}

type Settings struct {
	v1alpha1.PipelineSettings
	Err error
}

const (
	pipelineHole    = "{pipeline}"
	environmentHole = "{environment}"
	settingsFile    = "pipeline.yaml"
)

// discover finds the pipelines that a layout names, sorted. A folder without any overlay is among them: it may have
// had one. A repository without any pipeline is an error, because to take it at its word would delete everything.
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
			byName[name] = newFound(name)
		}
		byName[name].note(files, environment, at, rest)
	}
	return nil
}

// discoverOne is discover for one pipeline in one environment, whether its folder is there or not.
func discoverOne(files fs.FS, layout, environment, name string) *Pipeline {
	pattern := strings.ReplaceAll(strings.Trim(layout, "/"), environmentHole, environment)
	_, after, _ := strings.Cut(pattern, pipelineHole)
	_, rest, _ := strings.Cut(after, "/")
	pipeline := newFound(name)
	pipeline.note(files, environment, folderOf(layout, v1alpha1.Target{Pipeline: name, Environment: environment}), rest)
	return pipeline
}

// folderOf is the folder of a target's pipeline in the repository: pipelines/session-enrichment.
func folderOf(layout string, target v1alpha1.Target) string {
	pattern := strings.ReplaceAll(strings.Trim(layout, "/"), environmentHole, target.Environment)
	before, after, _ := strings.Cut(pattern, pipelineHole)
	suffix, _, _ := strings.Cut(after, "/")
	return path.Clean(before + target.Pipeline + suffix)
}

func newFound(name string) *Pipeline {
	return &Pipeline{
		Name: name, Overlays: map[string]string{}, Expected: map[string]string{}, Folders: map[string]string{},
		Settings: map[string]Settings{}, decoded: map[string]*v1alpha1.Pipeline{},
	}
}

// note takes down what the folder at a path, and the rest of the layout below it, hold for an environment.
func (p *Pipeline) note(files fs.FS, environment, at, rest string) {
	overlay := path.Join(at, rest)
	p.Expected[environment] = overlay
	p.Folders[environment] = at
	if isFolder(files, overlay) || isLostLink(files, overlay) {
		p.Overlays[environment] = overlay
	}
	p.Settings[environment] = p.read(files, path.Join(at, settingsFile), environment)
}

func isFolder(files fs.FS, name string) bool {
	info, err := fs.Stat(files, name)
	return err == nil && info.IsDir()
}

// isLostLink reports whether a path is a link that leads to no folder. An overlay that is one is not left out: rendering
// says what is wrong with it.
func isLostLink(files fs.FS, name string) bool {
	info, err := fs.Lstat(files, name)
	return err == nil && info.Mode()&fs.ModeSymlink != 0 && !isFolder(files, name)
}

func (p *Pipeline) read(files fs.FS, file, environment string) Settings {
	decoded, ok := p.decoded[file]
	if !ok {
		data, err := fs.ReadFile(files, file)
		if errors.Is(err, fs.ErrNotExist) {
			return Settings{}
		}
		if err != nil {
			return Settings{Err: err}
		}
		if render.IsPointer(data) {
			return Settings{Err: fmt.Errorf("%s: %w", file, render.ErrPointer)}
		}
		if decoded, err = v1alpha1.DecodePipeline(file, data); err != nil {
			return Settings{Err: err}
		}
		p.decoded[file] = decoded
	}
	return Settings{PipelineSettings: decoded.For(environment)}
}
