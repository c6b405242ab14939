package renderers

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/render"
)

const (
	// keptSize bounds the file of a build, and keptSet the objects in it, in bytes. A larger build is not kept.
	keptSize = 4 << 20
	keptSet  = 64 << 20
	// keptFor is the age at which a build is deleted. Its overlay may be gone; else it is built again.
	keptFor = 30 * 24 * time.Hour
)

// Kept returns a Builder that keeps the builds of a repository in a folder, from process to process. It takes a build from
// there while the files give the same answers to all reads of the build, and this program made it under the same limits. It does not keep a build
// that failed. A folder that cannot be read or written costs time and nothing else.
func Kept(folder, repository string, limits Limits, build Builder) Builder {
	k := keeper{folder: folder, repository: repository, program: program() + fmt.Sprintf(" %+v", limits.Render)}
	clear := sync.OnceFunc(func() { k.clear(time.Now()) })
	return func(ctx context.Context, files fs.FS, overlay string) Built {
		if built, err := k.read(files, overlay); err == nil {
			return built
		}
		built := build(ctx, files, overlay)
		if built.Err == nil {
			_ = k.write(overlay, built) // the next process builds it again
			clear()
		}
		return built
	}
}

// keeper reads and writes the builds of one repository.
type keeper struct {
	folder, repository string
	program            string
}

// keptBuild is the content of a file. It begins with its hash, so that a file that was written in part is none.
type keptBuild struct {
	Program, Overlay string
	Set              []byte // packed
	Warnings         []string
	Reads            render.ReadSet
}

func (k keeper) path(overlay string) string {
	sum := sha256.Sum256([]byte(k.repository + "\x00" + overlay))
	return filepath.Join(k.folder, hex.EncodeToString(sum[:16]))
}

var errNotKept = errors.New("this build is not kept")

// read returns a kept build. An error says that the overlay has to be built.
func (k keeper) read(files fs.FS, overlay string) (Built, error) {
	content, err := readFile(k.path(overlay))
	if err != nil {
		return Built{}, err
	}
	if len(content) < sha256.Size {
		return Built{}, errNotKept
	}
	sum := sha256.Sum256(content[sha256.Size:])
	if !bytes.Equal(sum[:], content[:sha256.Size]) {
		return Built{}, errNotKept
	}
	size, err := s2.DecodedLen(content[sha256.Size:])
	if err != nil || size > keptSet {
		return Built{}, cmp.Or(err, errNotKept)
	}
	text, err := s2.Decode(nil, content[sha256.Size:])
	if err != nil {
		return Built{}, err
	}
	var kept keptBuild
	if err := json.Unmarshal(text, &kept); err != nil {
		return Built{}, err
	}
	if kept.Program != k.program || kept.Overlay != overlay || !kept.Reads.Unchanged(files) {
		return Built{}, errNotKept
	}
	packed, set, err := manifest.FromBytes(kept.Set, keptSet)
	return Built{Set: set, Packed: packed, Warnings: kept.Warnings, Reads: kept.Reads}, err
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(io.LimitReader(f, keptSize+1))
	if err = errors.Join(err, f.Close()); err == nil && len(content) > keptSize {
		err = errNotKept
	}
	return content, err
}

// write keeps a build. Other processes see the whole file or none.
func (k keeper) write(overlay string, built Built) (err error) {
	text, err := json.Marshal(keptBuild{k.program, overlay, built.Packed.Bytes(), built.Warnings, built.Reads})
	if err != nil || len(text) > keptSize {
		return cmp.Or(err, errNotKept)
	}
	packed := s2.Encode(nil, text)
	sum := sha256.Sum256(packed)
	if err := os.MkdirAll(k.folder, 0o700); err != nil { // Secrets of the repository may be in the files
		return err
	}
	f, err := os.CreateTemp(k.folder, ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(append(sum[:], packed...))
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), k.path(overlay))
	}
	if err != nil {
		err = errors.Join(err, os.Remove(f.Name()))
	}
	return err
}

// clear deletes the files that are too old, such as those of overlays that are gone.
func (k keeper) clear(now time.Time) {
	entries, err := os.ReadDir(k.folder)
	if err != nil {
		return
	}
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil && now.Sub(info.ModTime()) > keptFor {
			_ = os.Remove(filepath.Join(k.folder, entry.Name())) // the next process tries again
		}
	}
}

// program names this program by all that is known of it: another one may render the same files in another way.
func program() string {
	text := "?"
	if info, ok := debug.ReadBuildInfo(); ok {
		text = info.String()
	}
	if file, err := os.Executable(); err == nil {
		if info, err := os.Stat(file); err == nil {
			text += fmt.Sprintf("%d %d", info.Size(), info.ModTime().UnixNano())
		}
	}
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:16])
}
