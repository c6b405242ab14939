package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// Answer is an API server's description of itself.
type Answer struct {
	Host    string
	Version string // v1.36.3
	// Ahead is how far its clock is ahead of the given one; Within is the precision of Ahead.
	Ahead, Within time.Duration
}

// longestVersion bounds how much syncer reads of an answer that should be a few lines.
const longestVersion = 64 << 10

// Probe asks an API server for its version, and reads its clock from the answer.
func Probe(ctx context.Context, c *Cluster, now func() time.Time) (Answer, error) {
	config := c.Config()
	answer := Answer{Host: config.Host}
	ctx, cancel := context.WithTimeout(ctx, discoveryTimeout)
	defer cancel()
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return answer, err
	}
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return answer, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base.JoinPath("version").String(), nil)
	if err != nil {
		return answer, err
	}
	before := now()
	resp, err := client.Do(req)
	if err != nil {
		return answer, fmt.Errorf("asking the API server at %s: %w", answer.Host, err)
	}
	took := now().Sub(before)
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, longestVersion))
	if err != nil {
		return answer, fmt.Errorf("asking the API server at %s: %w", answer.Host, err)
	}
	if resp.StatusCode != http.StatusOK {
		return answer, fmt.Errorf("asking the API server at %s for its version: it answers %s", answer.Host, resp.Status)
	}
	var version struct{ GitVersion string }
	if err := json.Unmarshal(body, &version); err != nil || version.GitVersion == "" {
		return answer, fmt.Errorf("asking %s for its version: the answer is not that of an API server", answer.Host)
	}
	answer.Version = version.GitVersion
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		// The header has whole seconds; the server wrote it at some time while the client waited for the answer.
		answer.Ahead = date.Add(time.Second / 2).Sub(before.Add(took / 2))
		answer.Within = time.Second/2 + took/2
	}
	return answer, nil
}

// DefinitionState says how a CRD in the cluster differs from the CRD of this build.
type DefinitionState string

const (
	DefinitionSame    DefinitionState = "same"
	DefinitionMissing DefinitionState = "missing"
	DefinitionOlder   DefinitionState = "older" // it lacks something
	DefinitionHidden  DefinitionState = "hidden"
)

// Definition compares a CRD with the one in the cluster. Further fields in the cluster are no difference.
func Definition(ctx context.Context, c *Cluster, want *unstructured.Unstructured) (DefinitionState, error) {
	live, err := Find(ctx, c, manifest.IDOf(want))
	switch {
	case apierrors.IsForbidden(err):
		return DefinitionHidden, nil
	case err != nil:
		return "", err
	case live == nil:
		return DefinitionMissing, nil
	}
	want = want.DeepCopy()
	for _, obj := range []*unstructured.Unstructured{live, want} {
		unstructured.RemoveNestedField(obj.Object, "metadata")
		unstructured.RemoveNestedField(obj.Object, "status")
	}
	if len(manifest.Diff(live, manifest.Overlay(live, want), nil)) > 0 {
		return DefinitionOlder, nil
	}
	return DefinitionSame, nil
}

// CheckKey makes sure that the key of the hashes of Secrets can be read. If no key exists, syncer makes it when it first
// needs it.
func CheckKey(ctx context.Context, c *Cluster) (there bool, err error) {
	key, err := c.Server().Key(ctx, false)
	return key != nil, err
}
