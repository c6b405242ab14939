package connect

import (
	"crypto/sha256"
	"os"
	"sync"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Files are the kubeconfigs and the files that they name, as the connections of a process read them. Clusters that share a
// file share what was read: it is read once in loginInterval, and parsed once for each content. It is safe for concurrent
// use.
type Files struct {
	mu     sync.Mutex
	byPath map[string]*file
}

// file is the content of a file as it was last read. A file that cannot be read has no content.
type file struct {
	at     time.Time
	sum    [sha256.Size]byte
	parsed *clientcmdapi.Config // nil: it was not parsed, or is no kubeconfig. It is not changed
}

// NewFiles returns files of which none was read.
func NewFiles() *Files { return &Files{byPath: map[string]*file{}} }

// sum is that of the content of a file, as of loginInterval ago or later; at once: as of now.
func (f *Files) sum(path string, atOnce bool) [sha256.Size]byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.read(path, atOnce).sum
}

// read reads a file where that is due. The caller holds the lock.
func (f *Files) read(path string, atOnce bool) *file {
	last := f.byPath[path]
	if last != nil && !atOnce && time.Since(last.at) < loginInterval {
		return last
	}
	now := &file{at: time.Now(), sum: sumOf(path)}
	if last != nil && last.sum == now.sum {
		now.parsed = last.parsed
	}
	f.byPath[path] = now
	return now
}

// sumOf is a sum over the content of a file, and over whether it can be read.
func sumOf(path string) [sha256.Size]byte {
	content, err := os.ReadFile(path)
	if err != nil {
		return [sha256.Size]byte{}
	}
	return sha256.Sum256(content)
}

// kubeconfig parses the file that the rules name. Callers do not change it.
func (f *Files) kubeconfig(rules *clientcmd.ClientConfigLoadingRules) (*clientcmdapi.Config, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	of := f.read(rules.ExplicitPath, false)
	if of.parsed != nil {
		return of.parsed, nil
	}
	parsed, err := rules.Load()
	if err == nil && sumOf(rules.ExplicitPath) == of.sum { // else it was replaced in between
		of.parsed = parsed
	}
	return parsed, err
}

// onlyContext is a kubeconfig with one of its contexts, as a copy; nil: it has not all of that context.
func onlyContext(all *clientcmdapi.Config, name string) *clientcmdapi.Config {
	of := all.Contexts[name]
	if of == nil || all.Clusters[of.Cluster] == nil || all.AuthInfos[of.AuthInfo] == nil {
		return nil
	}
	out := clientcmdapi.NewConfig()
	out.CurrentContext = name
	out.Contexts[name] = of.DeepCopy()
	out.Clusters[of.Cluster] = all.Clusters[of.Cluster].DeepCopy()
	out.AuthInfos[of.AuthInfo] = all.AuthInfos[of.AuthInfo].DeepCopy()
	return out
}
