package standin

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"k8s.io/client-go/rest"
)

// Documents are answers that a stand-in gives as a real API server gave them, by path.
type Documents map[string]Document

// Document is one answer.
type Document struct {
	ContentType string
	Content     []byte
}

// aggregated is what clients ask discovery for.
const aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

// Copy reads the documents of a real API server: which kinds it serves, and its version.
func Copy(ctx context.Context, config *rest.Config) (Documents, error) {
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	out := Documents{}
	for _, path := range []string{"/api", "/apis", "/version"} {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(config.Host, "/")+path, nil)
		if err != nil {
			return nil, err
		}
		if path != "/version" {
			request.Header.Set("Accept", aggregated)
		}
		if out[path], err = read(client, request); err != nil {
			return nil, fmt.Errorf("reading %s: %w", path, err)
		}
	}
	return out, nil
}

func read(client *http.Client, request *http.Request) (Document, error) {
	response, err := client.Do(request)
	if err != nil {
		return Document{}, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, content)
	}
	return Document{response.Header.Get("Content-Type"), content}, err
}
