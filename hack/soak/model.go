package main

import (
	"encoding/base64"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"

	"sigs.k8s.io/yaml"
)

const (
	registryHost = "registry.example.com" // as git writes it; the local registry replaces it
	dev          = "dev"                  // follows tags and corrects drift
	prod         = "prod"                 // pins tags and reports drift
	records      = "soak-syncer"
	tags         = 3
	extras       = 2
)

var environments = []string{dev, prod}

// namespace is the namespace of an environment's objects.
func namespace(environment string) string { return "soak-" + environment }

// target is one pipeline in one environment.
type target struct{ pipeline, environment string }

func (t target) String() string { return t.pipeline + "@" + t.environment }

// record is the name of the target's record.
func (t target) record() key { return key{"PipelineSync", records, t.pipeline + "." + t.environment} }

// key names an object of the cluster.
type key struct{ kind, namespace, name string }

func (k key) String() string { return k.kind + "/" + k.namespace + "/" + k.name }

// object is an object in git, without its namespace.
type object = map[string]any

// state is the state of one pipeline in git. Everything that the pipeline renders to follows from it.
type state struct {
	Tag    int          // of its image
	Value  int          // is in its objects
	Extras [extras]bool // which of the optional objects exist
}

// model is the state of git at one commit: the pipelines that it has.
type model map[string]state

// shapes give each pipeline its objects.
var shapes = map[string]func(name string, s state) []object{
	"web":    web,
	"report": report,
	"load":   load,
	"enrich": enrich,
	"once":   once,
	"extra":  extra,
}

// optional are the pipelines that leave git and come back.
var optional = []string{"extra"}

var pipelines = slices.Sorted(maps.Keys(shapes))

func firstModel() model {
	m := model{}
	for _, name := range pipelines {
		m[name] = state{Tag: 1, Value: 1}
	}
	return m
}

// changed returns the model after one random change, and a description of the change.
func (m model) changed(r *rand.Rand) (model, string) {
	next := maps.Clone(m)
	if r.IntN(12) == 0 {
		name := optional[r.IntN(len(optional))]
		if _, there := next[name]; there {
			delete(next, name)
			return next, "remove " + name
		}
		next[name] = state{Tag: 1, Value: r.IntN(1000)}
		return next, "add " + name
	}
	names := slices.Sorted(maps.Keys(next))
	name := names[r.IntN(len(names))]
	s := next[name]
	var what string
	switch r.IntN(4) {
	case 0:
		s.Tag = 1 + r.IntN(tags)
		what = fmt.Sprintf("%s: image v%d", name, s.Tag)
	case 1:
		i := r.IntN(extras)
		s.Extras[i] = !s.Extras[i]
		what = fmt.Sprintf("%s: extra %d %t", name, i, s.Extras[i])
	default:
		s.Value = r.IntN(1000)
		what = fmt.Sprintf("%s: value %d", name, s.Value)
	}
	next[name] = s
	return next, what
}

// objects returns a target's objects in git, by key, with namespaces. A pipeline that git does not have has none.
func (m model) objects(t target) map[key]object {
	s, ok := m[t.pipeline]
	if !ok {
		return nil
	}
	all := map[key]object{}
	for _, o := range shapes[t.pipeline](t.pipeline, s) {
		metadata := o["metadata"].(object)
		metadata["namespace"] = namespace(t.environment)
		all[key{o["kind"].(string), namespace(t.environment), metadata["name"].(string)}] = o
	}
	return all
}

// files returns the files of the repository.
func (m model) files() (map[string][]byte, error) {
	all := map[string][]byte{}
	for name, s := range m {
		folder := "pipelines/" + name
		var text []byte
		for _, o := range shapes[name](name, s) {
			document, err := yaml.Marshal(o)
			if err != nil {
				return nil, err
			}
			text = append(append(text, "---\n"...), document...)
		}
		all[folder+"/base/objects.yaml"] = text
		all[folder+"/base/kustomization.yaml"] = []byte("resources: [objects.yaml]\n")
		for _, environment := range environments {
			all[folder+"/overlays/"+environment+"/kustomization.yaml"] =
				fmt.Appendf(nil, "namespace: %s\nresources: [../../base]\n", namespace(environment))
		}
	}
	return all, nil
}

// reference is the image of a pipeline as git writes it.
func reference(name string, tag int) string {
	return fmt.Sprintf("%s/soak/%s:v%d", registryHost, name, tag)
}

func web(name string, s state) []object {
	return append(common(name, s),
		object{
			"apiVersion": "apps/v1", "kind": "Deployment", "metadata": object{"name": name},
			"spec": object{
				"replicas": 1 + int64(s.Value%2),
				"selector": object{"matchLabels": object{"app": name}},
				"template": object{"metadata": object{"labels": object{"app": name}}, "spec": pod(name, s)},
			},
		},
		object{
			"apiVersion": "v1", "kind": "Secret", "metadata": object{"name": name},
			"data": object{"password": base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "canary-%d", s.Value))},
		},
	)
}

func report(name string, s state) []object {
	spec := pod(name, s)
	spec["restartPolicy"] = "Never"
	return append(common(name, s), object{
		"apiVersion": "batch/v1", "kind": "CronJob", "metadata": object{"name": name},
		"spec": object{
			// Never while the soak runs: the runs of a CronJob are not syncer's.
			"schedule": fmt.Sprintf("%d 0 31 2 *", s.Value%60), "suspend": true,
			"jobTemplate": object{"spec": object{"template": object{"spec": spec}}},
		},
	})
}

func load(name string, s state) []object {
	return append(common(name, s), job(name, s, "6"))
}

// once has a Job that removes itself, and an object of the next wave.
func once(name string, s state) []object {
	run := job(name, s, "4")
	run["spec"].(object)["ttlSecondsAfterFinished"] = int64(2)
	after := configMap(name+"-after", s)
	after["metadata"].(object)["annotations"] = object{"argocd.argoproj.io/sync-wave": "1"}
	return append(common(name, s), run, after)
}

func enrich(name string, s state) []object {
	return append(common(name, s), object{
		"apiVersion": "sparkoperator.k8s.io/v1beta2", "kind": "SparkApplication",
		"metadata": object{"name": name, "annotations": object{"lab.syncer.dev/run-seconds": "6"}},
		"spec": object{
			"type": "Python", "mode": "cluster", "sparkVersion": "3.5.1", "image": reference(name, s.Tag),
			"mainApplicationFile": "local:///app/etl.py",
			"driver":              object{"cores": int64(1)},
			"executor":            object{"cores": int64(1), "instances": 1 + int64(s.Value%4)},
		},
	})
}

func extra(name string, s state) []object {
	return append(common(name, s), configMap(name+"-more", s))
}

// common are the objects that every pipeline has, and the present ones of the optional objects.
func common(name string, s state) []object {
	all := []object{
		configMap(name, s),
		{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": object{"name": name}},
	}
	for i, there := range s.Extras {
		if there {
			all = append(all, configMap(fmt.Sprintf("%s-extra-%d", name, i), s))
		}
	}
	return all
}

func configMap(name string, s state) object {
	data := object{"value": strconv.Itoa(s.Value)}
	if s.Value%3 == 0 {
		data["third"] = "yes" // an optional key
	}
	return object{"apiVersion": "v1", "kind": "ConfigMap", "metadata": object{"name": name}, "data": data}
}

func job(name string, s state, seconds string) object {
	spec := pod(name, s)
	spec["restartPolicy"] = "Never"
	return object{
		"apiVersion": "batch/v1", "kind": "Job", "metadata": object{"name": name},
		"spec": object{
			"template": object{
				"metadata": object{"annotations": object{"lab.syncer.dev/run-seconds": seconds}},
				"spec":     spec,
			},
		},
	}
}

func pod(name string, s state) object {
	return object{
		"serviceAccountName": name,
		"containers": []any{object{
			"name": "main", "image": reference(name, s.Tag),
			"env": []any{object{"name": "VALUE", "value": strconv.Itoa(s.Value)}},
		}},
	}
}
