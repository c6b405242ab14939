package lab

import (
	"io/fs"
	"os"
	"path/filepath"
)

// writeFile writes a file and makes its folder.
func writeFile(path string, content []byte, mode fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, content, mode)
}
