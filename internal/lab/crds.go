package lab

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"
)

// The CRDs that pipelines use beside those of Kubernetes, with the fields that real manifests set. Each file is a List,
// so that its schemas can share parts by YAML anchors.
//
//go:embed crds/*.yaml
var crdFiles embed.FS

// installCRDs returns when every CRD is served, and seen by discovery and in the published schemas.
func (c *ControlPlane) installCRDs(ctx context.Context) error {
	names, err := fs.Glob(crdFiles, "crds/*.yaml")
	if err != nil {
		return err
	}
	var crds []*apiextensionsv1.CustomResourceDefinition
	for _, name := range names {
		content, err := crdFiles.ReadFile(name)
		if err != nil {
			return err
		}
		var list struct {
			Items []*apiextensionsv1.CustomResourceDefinition `json:"items"`
		}
		if err := yaml.Unmarshal(content, &list); err != nil {
			return fmt.Errorf("reading %s: %w", name, err)
		}
		crds = append(crds, list.Items...)
	}
	_, err = envtest.InstallCRDs(c.Config(), envtest.CRDInstallOptions{
		CRDs:         crds,
		MaxTime:      30 * time.Second,
		PollInterval: 50 * time.Millisecond,
	})
	if err != nil {
		return fmt.Errorf("installing CRDs: %w", err)
	}
	return until(ctx, func(context.Context) error { return c.published(crds) }, nil)
}

// published returns an error as long as the API server publishes no schema for one of the CRDs. The API server does so
// some time after it serves them.
func (c *ControlPlane) published(crds []*apiextensionsv1.CustomResourceDefinition) error {
	client, err := discovery.NewDiscoveryClientForConfig(c.Config())
	if err != nil {
		return err
	}
	paths, err := client.OpenAPIV3().Paths()
	if err != nil {
		return fmt.Errorf("asking for published schemas: %w", err)
	}
	for _, crd := range crds {
		path := "apis/" + crd.Spec.Group + "/" + crd.Spec.Versions[0].Name
		if paths[path] == nil {
			return fmt.Errorf("no schema of %s is published", path)
		}
	}
	return nil
}
