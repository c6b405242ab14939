package renderers

import (
	"context"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// workload has pipelines with a base of four objects, an overlay with a patch, and a component that all share.
func workload(pipelines int) fs.FS {
	files := map[string]string{"platform/kustomization.yaml": "kind: Component\napiVersion: kustomize.config.k8s.io/v1alpha1\ncommonAnnotations: {example.com/platform: \"1\"}\n"}
	for i := range pipelines {
		name := fmt.Sprintf("p%d", i)
		base, overlay := name+"/base/", name+"/prod/"
		files[base+"kustomization.yaml"] = "resources: [application.yaml, cronjob.yaml, account.yaml, settings.yaml]\nlabels: [{pairs: {app.kubernetes.io/name: " + name + "}}]\n"
		files[base+"application.yaml"] = "apiVersion: sparkoperator.k8s.io/v1beta2\nkind: SparkApplication\nmetadata: {name: " + name + "}\nspec:\n  type: Python\n  mode: cluster\n  image: registry.example.com/etl:v1\n  mainApplicationFile: local:///app/main.py\n  driver: {cores: 1, memory: 2g, serviceAccount: " + name + "}\n  executor: {cores: 2, instances: 2, memory: 4g}\n"
		files[base+"cronjob.yaml"] = "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: " + name + "}\nspec:\n  schedule: 0 3 * * *\n  jobTemplate:\n    spec:\n      template:\n        spec:\n          restartPolicy: Never\n          containers: [{name: check, image: \"registry.example.com/etl:v1\", args: [check]}]\n"
		files[base+"account.yaml"] = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: " + name + "}\n"
		files[base+"settings.yaml"] = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + "}\ndata: {level: info, release: \"1\"}\n"
		files[overlay+"kustomization.yaml"] = "namespace: prod\nresources: [../base]\ncomponents: [../../platform]\npatches: [{path: size.yaml}]\n"
		files[overlay+"size.yaml"] = "apiVersion: sparkoperator.k8s.io/v1beta2\nkind: SparkApplication\nmetadata: {name: " + name + "}\nspec: {executor: {instances: 9}}\n"
	}
	return repository(files)
}

// BenchmarkBuild compares builds in process with a pool. The time of a processor has that of the workers in it.
func BenchmarkBuild(b *testing.B) {
	const pipelines = 30
	files := workload(pipelines)
	here := func(_ context.Context, files fs.FS, overlay string) Built { return Limits{}.Here(files, overlay) }
	for _, workers := range []int{1, 2} {
		b.Run(fmt.Sprintf("here/%d", workers), func(b *testing.B) { measure(b, files, pipelines, workers, here, func() {}) })
		b.Run(fmt.Sprintf("pool/%d", workers), func(b *testing.B) {
			p := NewPool(Options{Workers: workers})
			measure(b, files, pipelines, workers, p.Build, p.Close)
		})
	}
}

func measure(b *testing.B, files fs.FS, pipelines, workers int, build Builder, end func()) {
	own, all := used(syscall.RUSAGE_SELF), used(syscall.RUSAGE_SELF)+used(syscall.RUSAGE_CHILDREN)
	var next atomic.Int64
	var g sync.WaitGroup
	for range workers {
		g.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				if built := build(b.Context(), files, fmt.Sprintf("p%d/prod", int(i)%pipelines)); built.Err != nil {
					b.Error(built.Err)
				}
			}
		})
	}
	g.Wait()
	b.StopTimer()
	own = used(syscall.RUSAGE_SELF) - own
	end() // a process counts when it has ended
	all = used(syscall.RUSAGE_SELF) + used(syscall.RUSAGE_CHILDREN) - all
	b.ReportMetric(float64(own.Microseconds())/1000/float64(b.N), "own-cpu-ms/op")
	b.ReportMetric(float64(all.Microseconds())/1000/float64(b.N), "cpu-ms/op")
}

func used(who int) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(who, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
