package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/syncerdev/syncer/pkg/drift"
)

// asset is a file that pages load.
type asset struct {
	name    string // HASH.css
	content []byte
}

// assets are the files of the pages. Their names hold a hash of their content, so that a browser may cache them without
// end.
var assets = func() []asset {
	var out []asset
	for _, file := range []string{"site.css", "site.js", "icon.svg"} {
		content, err := pageFiles.ReadFile("page/" + file)
		if err != nil {
			panic(err) // it is compiled in
		}
		if file == "site.css" {
			content = append([]byte(drift.StyleSheet()), content...)
		}
		sum := sha256.Sum256(content)
		out = append(out, asset{hex.EncodeToString(sum[:10]) + path.Ext(file), content})
	}
	return out
}()

// assetPaths are their addresses, by kind: css, js and svg.
var assetPaths = func() map[string]string {
	out := map[string]string{}
	for _, a := range assets {
		out[strings.TrimPrefix(path.Ext(a.name), ".")] = "/static/" + a.name
	}
	return out
}()

// contentTypes do not depend on the machine's table of extensions.
var contentTypes = map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}

func (s *site) static(w http.ResponseWriter, r *http.Request) {
	for _, a := range assets {
		if a.name == r.PathValue("file") {
			w.Header().Set("Content-Type", contentTypes[path.Ext(a.name)])
			w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
			http.ServeContent(w, r, a.name, time.Time{}, bytes.NewReader(a.content))
			return
		}
	}
	// An old page requests a file that a new version does not have; a reload fixes it.
	http.Error(w, "there is no such file in this version", http.StatusNotFound)
}
