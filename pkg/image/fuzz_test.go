package image

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"unicode"
)

// answering answers each request with the same header and body, and counts.
type answering struct {
	requests int
	status   int
	header   http.Header
	body     []byte
}

func (a *answering) RoundTrip(req *http.Request) (*http.Response, error) {
	a.requests++
	return &http.Response{
		StatusCode: a.status, Status: http.StatusText(a.status), Header: a.header.Clone(), Request: req,
		ContentLength: int64(len(a.body)), Body: io.NopCloser(bytes.NewReader(a.body)),
	}, nil
}

// FuzzAnswers gives a look-up, a list of tags and a check of signatures any answer of a registry: they end within the
// budget with an error that is one short line, or with a digest of the bytes.
func FuzzAnswers(f *testing.F) {
	digest := "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
	f.Add(200, ociImage, digest, "", "", []byte("{}"))
	f.Add(200, "application/json", "", "", `</v2/x/y/tags/list?last=b>; rel="next"`, []byte(`{"name": "x/y", "tags": ["a", "b"]}`))
	f.Add(401, "application/json", "", `Bearer realm="https://registry.example.com/token",service="x",scope="a"`, "", []byte(`{"token": "t"}`))
	f.Add(401, "", "", `Basic realm="x", Bearer realm=`, "", []byte(`{"errors": [{"code": "DENIED", "message": "no\nmore"}]}`))
	f.Add(307, "", "", "", "", []byte("/v2/"))
	f.Add(200, "application/vnd.oci.image.index.v1+json", digest, "", "", []byte(`{"schemaVersion": 2, "manifests": [{"digest": "`+digest+`", "size": 2, "mediaType": "x"}]}`))
	limits := Limits{RequestsPerLookup: 20, TagPages: 5, TagBytes: 4096, ManifestBytes: 4096, Signatures: 3}.orDefaults()
	f.Fuzz(func(t *testing.T, status int, kind, named, challenge, link string, body []byte) {
		if status < 200 || status > 599 {
			return
		}
		header := http.Header{"Content-Type": {kind}, "Docker-Content-Digest": {named}, "Www-Authenticate": {challenge}, "Link": {link}}
		if status/100 == 3 {
			header.Set("Location", string(body))
		}
		a := &answering{status: status, header: header, body: body}
		r := &Registry{limits: limits, keychain: Credentials{}, transport: a, delay: 1}
		const reference = "registry.example.com/x/y:1"
		got, err := r.Digest(t.Context(), reference)
		if err == nil && r.Confirm(t.Context(), reference, got) == nil && !strings.HasPrefix(got, "sha") {
			t.Errorf("the digest %q", got)
		}
		_, listing := r.Tags(t.Context(), "registry.example.com/x/y")
		for _, err := range []error{err, listing} {
			if err != nil && (len(err.Error()) > 2*longestDiagnosis || strings.ContainsFunc(err.Error(), unicode.IsControl)) {
				t.Errorf("the error %q", err)
			}
			if err != nil && !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrDenied) && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrMismatch) {
				t.Errorf("an error of no kind: %v", err)
			}
		}
		if most := 3*limits.RequestsPerLookup + limits.TagPages; a.requests > most {
			t.Errorf("%d requests", a.requests)
		}
	})
}
