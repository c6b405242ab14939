package render

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// linked may be implemented by files that follow symbolic links themselves, as git's do.
type linked interface {
	// RealPath is the path of a path's target, without a link in it.
	RealPath(name string) (string, error)
}

// maxLinks is how many symbolic links one path may lead through, as in Linux.
const maxLinks = 40

var (
	errLinkLoop = errors.New("too many symbolic links: is it a loop?")
	errOutside  = errors.New("a symbolic link leaves the repository")
)

// RealPath is the path of a path's target in files, without a symbolic link in it. kustomize resolves the paths of a
// kustomization from its real folder: where `overlays/dev` is a link to `envs/dev`, `../base` is `envs/base`.
func RealPath(files fs.FS, name string) (string, error) {
	if known, ok := files.(linked); ok {
		return known.RealPath(name)
	}
	real, todo := ".", strings.Split(name, "/")
	for links := 0; len(todo) > 0; {
		next := todo[0]
		todo = todo[1:]
		switch {
		case next == "" || next == ".":
			continue
		case next == ".." && real == ".":
			return "", &fs.PathError{Op: "readlink", Path: name, Err: errOutside}
		case next == "..":
			real = path.Dir(real)
			continue
		}
		at := path.Join(real, next)
		info, err := fs.Lstat(files, at)
		if err != nil {
			return "", err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			real = at
			continue
		}
		if links++; links > maxLinks {
			return "", &fs.PathError{Op: "readlink", Path: name, Err: errLinkLoop}
		}
		target, err := fs.ReadLink(files, at)
		if err != nil {
			return "", err
		}
		if path.IsAbs(target) {
			return "", &fs.PathError{Op: "readlink", Path: name, Err: fmt.Errorf("%w: %s points to %s", errOutside, at, target)}
		}
		todo = append(strings.Split(target, "/"), todo...)
	}
	return real, nil
}

// realOf is RealPath as an answer of a read set.
func realOf(files fs.FS, name string) string {
	real, err := RealPath(files, name)
	if err != nil {
		return kind(false, err)
	}
	return real
}

// RealFolder is the real path of a folder, or the path itself where it leads nowhere.
func RealFolder(files fs.FS, name string) string {
	if real, err := RealPath(files, name); err == nil {
		return real
	}
	return name
}
