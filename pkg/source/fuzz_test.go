package source

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/go-git/go-billy/v5/memfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
)

// FuzzAnswer reads any bytes as the answer to a request for objects, and what a cache holds then as a commit.
func FuzzAnswer(f *testing.F) {
	tip := strings.Repeat("ab", 20)
	f.Add([]byte("0034shallow "+tip+"00000008NAK\n0006\x01P0000"), true)
	f.Add([]byte("0008NAK\n0009\x02busy0000"), false)
	f.Add([]byte("0031ACK "+tip+"\n000b\x03broken0000"), false)
	limits := Limits{PackBytes: 1 << 16, Objects: 100, ObjectBytes: 1 << 12, InflatedBytes: 1 << 18}.orDefaults()
	f.Fuzz(func(t *testing.T, bytesOf []byte, shallow bool) {
		c, err := newCache("", memfs.New(), limits)
		if err != nil {
			t.Fatal(err)
		}
		request := packp.NewUploadPackRequest()
		request.Wants = []plumbing.Hash{plumbing.NewHash(tip)}
		if err := request.Capabilities.Set(capability.Sideband64k); err != nil {
			t.Fatal(err)
		}
		if shallow {
			request.Depth = packp.DepthCommits(1)
		}
		answer := packp.NewUploadPackResponse(request)
		if answer.Decode(io.NopCloser(bytes.NewReader(bytesOf))) == nil && c.take(answer, request) == nil && c.packs.Len() > 0 {
			_, _ = historyOf(c.store).snapshot(request.Wants[0], true)
		}
	})
}

// FuzzRefs keeps names that git does not make out of what is followed.
func FuzzRefs(f *testing.F) {
	f.Add("refs/heads/main", "HEAD:refs/heads/main")
	f.Add("refs/heads/../x", "HEAD:refs/heads/\x1b")
	f.Add("config", "HEAD:config")
	f.Fuzz(func(t *testing.T, name, symref string) {
		adv := packp.NewAdvRefs()
		adv.References[name] = plumbing.NewHash(strings.Repeat("ab", 20))
		_ = adv.Capabilities.Add(capability.SymRef, symref) // what cannot be a capability is none
		r := advertised(adv)
		for _, kept := range append([]string{r.head}, names(r)...) {
			if strings.Contains(kept, "..") || strings.ContainsAny(kept, "\x00\x1b\n\r\\ ") || kept != "HEAD" && !strings.Contains(kept, "/") {
				t.Errorf("%q is kept", kept)
			}
		}
	})
}

func names(r refs) (list []string) {
	for name := range r.hashes {
		list = append(list, name)
	}
	return list
}
