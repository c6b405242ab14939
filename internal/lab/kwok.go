package lab

import (
	"bytes"
	"embed"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
)

// The stages that kwok simulates. Those with the name spark-* need the CRDs of the Spark operator.
//
//go:embed stages/*.yaml
var stageFiles embed.FS

// startKwok starts kwok, which simulates the nodes, their pods and, with opts.Spark, the Spark operator. kwok ends at
// once when one of its kinds is not served, so the CRDs come first.
func (c *ControlPlane) startKwok() error {
	config, err := stages(c.opts.Spark)
	if err != nil {
		return err
	}
	path := filepath.Join(c.opts.Dir, "stages.yaml")
	if err := writeFile(path, config, 0o644); err != nil {
		return err
	}
	return c.run("kwok",
		"--kubeconfig="+c.Kubeconfig,
		"--config="+path,
		"--manage-all-nodes=true",
		"--node-lease-duration-seconds=40",
	)
}

// stages returns kwok's configuration: every stage, as one YAML stream.
func stages(spark bool) ([]byte, error) {
	names, err := fs.Glob(stageFiles, "stages/*.yaml")
	if err != nil {
		return nil, err
	}
	var all [][]byte
	for _, name := range names {
		if !spark && strings.HasPrefix(path.Base(name), "spark-") {
			continue
		}
		stage, err := stageFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		all = append(all, stage)
	}
	return bytes.Join(all, []byte("---\n")), nil
}
