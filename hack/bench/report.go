package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
)

// report writes what was measured as tables in Markdown: a row for each figure, a column for each run.
func report(all []*result, requests bool) string {
	var rows []string
	cells := map[string][]string{}
	for i, r := range all {
		for _, f := range r.figures {
			if cells[f.name] == nil {
				rows, cells[f.name] = append(rows, f.name), make([]string, len(all))
			}
			cells[f.name][i] = f.String()
		}
	}
	var out strings.Builder
	for _, row := range rows {
		cells[row] = append(cells[row], goals[row])
	}
	out.WriteString(head("targets", append(names(all), "goal")) + lines(rows, cells))
	if requests {
		out.WriteString(requestTables(all))
	}
	return out.String()
}

// requestTables writes a table of requests for each part.
func requestTables(all []*result) string {
	var parts []string
	for _, r := range all {
		for _, t := range r.asked {
			if !slices.Contains(parts, t.part) {
				parts = append(parts, t.part)
			}
		}
	}
	var out strings.Builder
	for _, part := range parts {
		sum, cells := counts{}, map[string][]string{}
		for i, r := range all {
			for _, t := range r.asked {
				if t.part != part {
					continue
				}
				sum.add(t.requests)
				for what, n := range t.requests {
					if cells[what] == nil {
						cells[what] = make([]string, len(all))
					}
					cells[what][i] = short(float64(n) / t.per)
				}
			}
		}
		fmt.Fprintf(&out, "\nRequests of %s:\n\n%s%s", part, head("verb and resource", names(all)), lines(sum.sorted(), cells))
	}
	return out.String()
}

func names(all []*result) []string {
	var out []string
	for _, r := range all {
		out = append(out, r.name)
	}
	return out
}

func head(first string, columns []string) string {
	return "| " + first + " | " + strings.Join(columns, " | ") + " |\n|" + strings.Repeat(" --- |", len(columns)+1) + "\n"
}

func lines(rows []string, cells map[string][]string) string {
	var out strings.Builder
	for _, row := range rows {
		fmt.Fprintf(&out, "| %s | %s |\n", row, strings.Join(cells[row], " | "))
	}
	return out.String()
}

// versions names the programs of a run.
func versions(ctx context.Context, syncer string, config *rest.Config) []string {
	var out []string
	if text, err := exec.CommandContext(ctx, syncer, "version").Output(); err == nil {
		first, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
		out = append(out, first)
	}
	if client, err := discovery.NewDiscoveryClientForConfig(config); err == nil {
		if version, err := client.ServerVersion(); err == nil {
			out = append(out, "Kubernetes "+version.GitVersion)
		}
	}
	return append(out, runtime.Version())
}

// machine describes this computer.
func machine() string {
	model := "unknown processor"
	if content, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(content)) {
			if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	memory := ""
	if content, err := os.ReadFile("/proc/meminfo"); err == nil {
		memory = fmt.Sprintf(", %d GB of memory", (kilobytes(string(content), "MemTotal:")+1<<19)>>20)
	}
	return fmt.Sprintf("%d cores of %s%s, %s/%s", runtime.NumCPU(), model, memory, runtime.GOOS, runtime.GOARCH)
}

// about is the paragraph on how the figures came about.
func about(opts options, all []*result) string {
	var v []string
	if len(all) > 0 {
		v = all[0].versions
	}
	return fmt.Sprintf("Machine: %s. Versions: %s. %d commits, %d edits of each sort, %s at rest; the plain client ran %d times, each\ncommand %d times, and the median counts.",
		machine(), strings.Join(v, ", "), opts.commits, opts.edits, opts.rest, opts.rawRuns, opts.rounds)
}

// page is docs/benchmarks.md.
func page(about, tables string) string { return fmt.Sprintf(pageText, about, tables) }

const pageText = `# Benchmarks

This page is written by ` + "`make bench`" + `, which measures the syncer binary with a real Kubernetes API server, a git server
and an image registry, all on one machine. [Contributing](contributing.md#the-benchmark) says how to run it.

- **The workload**: pipelines in three environments (dev, staging, prod) of one API server. A target has four objects: a
  SparkApplication, a CronJob, a ConfigMap and a ServiceAccount, from a base, an overlay and a shared component. Ten
  pipelines share a namespace in each environment. Images are named by digest. The daemon runs as users run it, with
  leader election, a webhook and ` + "`source.interval: 1m`" + `.
- **RAW** is a plain client that applies the same rendered objects with 8 workers in the same run and does nothing else.
- **Settled**: a stand-in for the Spark operator completes each application at once. **In progress**: no
  application ends, so no target becomes ready.
- **A commit to one pipeline** changes its four objects in all three environments. The time is that from the webhook to the
  moment when a watch shows the commit in the records of the three targets. Requests and processor time count until syncer
  has asked nothing for 0.3 s, or for 2 s at most.
- **A commit to all** changes every object by the shared component.
- **The goal** is what the project wants to reach, for up to 1,002 targets.
- **Requests** are those in the API server's audit log without Leases; watches count by themselves. Processor time is that
  of the syncer process.

%s

%s`
