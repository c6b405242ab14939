package image

import (
	"errors"
	"strings"
	"testing"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// refer makes references of values, as Find does.
func refer(t *testing.T, values ...string) []Reference {
	t.Helper()
	var refs []Reference
	for _, value := range values {
		form, err := formOf(value)
		if err != nil {
			t.Fatalf("%s: %v", value, err)
		}
		refs = append(refs, Reference{Object: manifest.ID{APIVersion: "v1", Kind: "Pod", Namespace: "data", Name: "x"}, Path: "spec.image", Value: value, Form: form})
	}
	return refs
}

func TestDenyTags(t *testing.T) {
	policy := Policy{DenyTags: []string{"latest", "dev"}}
	for value, refused := range map[string]bool{
		"web":                                    true, // means latest
		"web:latest":                             true,
		"web:dev":                                true,
		"web:1":                                  false,
		"web:latest-1":                           false,
		"web:LATEST":                             false, // tags have a case
		"localhost:5000/web":                     true,
		"localhost:5000/web:1":                   false,
		"dev/web:1":                              false,
		"dev:1":                                  false,
		"registry.example.com:5000/latest/web:1": false,
		"web:latest@" + digest:                   true, // the tag is a lie at the next push
		"web:1@" + digest:                        false,
		"web@" + digest:                          false, // the bytes are named; there is no tag
		"{{image}}":                              false, // what it becomes is not known here
		"$(REGISTRY)/web:latest":                 true,  // this much is
		"registry.example.com/web:$(TAG)":        false,
		"registry.example.com/web:latest-{{date}}": false,
	} {
		if err := policy.Check(refer(t, value)); (err != nil) != refused {
			t.Errorf("%s: %v", value, err)
		}
	}
	if err := (Policy{DenyTags: []string{"dev"}}).Check(refer(t, "web", "web:latest")); err != nil {
		t.Errorf("latest is not denied: %v", err)
	}
}

func TestAllow(t *testing.T) {
	for _, c := range []struct {
		pattern, value string
		allowed        bool
	}{
		{"registry.example.com/*", "registry.example.com/team/web:1", true},
		{"registry.example.com/*", "registry.example.com/web@" + digest, true},
		{"registry.example.com/*", "registry.example.com.evil.com/web:1", false},
		{"registry.example.com/*", "registry.example.com:5000/web:1", false},
		{"registry.example.com:5000/*", "registry.example.com/web:1", false},
		{"registry.example.com:5000/*", "registry.example.com:05000/web:1", true},
		{"registry.example.com/*", "registry.example.com:443/web:1", true}, // what goes without saying
		{"registry.example.com/*", "registry.example.com:0443/web:1", true},
		{"registry.example.com/*", "registry.example.com:80/web:1", true},
		{"registry.example.com:443/*", "registry.example.com/web:1", true},
		{"registry.example.com:*/*", "registry.example.com/web:1", true},
		{"registry.example.com:*/*", "registry.example.com:443/web:1", true},
		{"registry.example.com:*/*", "registry.example.com:5000/web:1", true},
		{"[2001:db8::1]:5000/*", "[2001:DB8:0::1]:5000/web:1", true},
		{"10.0.0.1/*", "[::ffff:10.0.0.1]/web:1", true},
		{"registry.example.com/*", "evil.com/registry.example.com/web:1", false},
		{"registry.example.com/*", "registryXexample.com/web:1", false}, // a dot is a dot
		{"registry.example.com/*", "REGISTRY.example.com/web:1", true},  // hosts have no case
		{"Registry.Example.com/*", "registry.example.com/web:1", true},
		{"registry.example.com/team/*", "registry.example.com/team2/web:1", false},
		{"registry.example.com/team/web", "registry.example.com/team/web:1", true},
		{"registry.example.com/team/web", "registry.example.com/team/web2:1", false},
		{"registry.example.com/*/web", "registry.example.com/a/b/web:1", true},
		{"*.example.com/*", "registry.example.com/web:1", true},
		{"*.example.com/*", "example.com/web:1", false},
		{"localhost:5000/*", "localhost:5000/web:1", true},
		{"localhost/*", "localhost/web:1", true},
		{"*", "registry.example.com/web:1", true},
		{"*", "busybox", true},
		{"team*/app", "team.example.com/app:1", false}, // no host has neither a dot nor a port
		{"team*/app", "team-a/app:1", true},
		{"*/app", "evil.example.com/app:1", false},
		{"*/app", "team/app:1", true},
		{"127.0.0.1*", "127.0.0.1:5000/team/app:1", true},
		{"registry.example.com", "registry.example.com/team/app:1", true},
		{"registry.example.com", "registry.example.com:5000/team/app:1", false},
		{"registry.example.com:5000", "registry.example.com:5000/app:1", true},
		{"localhost", "localhost/app:1", true},
		{"docker.io", "team/app:1", true},

		{"busybox", "busybox:1", true},
		{"busybox", "docker.io/library/busybox:1", true},
		{"busybox", "index.docker.io/library/busybox:1", true},
		{"library/busybox", "busybox:1", true},
		{"docker.io/busybox", "busybox:1", true},
		{"docker.io/library/busybox", "busybox:1", true},
		{"index.docker.io/library/busybox", "busybox:1", true},
		{"busybox", "registry-1.docker.io/library/busybox:1", true},
		{"busybox", "Docker.IO/busybox:1", true},
		{"docker.io/*", "registry.hub.docker.com/team/web:1", true},
		{"Docker.io/*", "INDEX.docker.io:443/team/web:1", true},
		{"registry-1.docker.io/team/*", "team/web:1", true},
		{"docker.io/library/*", "busybox:1", true},
		{"docker.io/library/*", "bitnami/redis:1", false},
		{"docker.io/*", "bitnami/redis:1", true},
		{"docker.io/*", "busybox", true},
		{"docker.io/*", "registry.example.com/busybox", false},
		{"bitnami/*", "bitnami/redis:1", true},
		{"bitnami/*", "docker.io/bitnami/redis:1", true},
		{"bitnami/*", "registry.example.com/bitnami/redis:1", false},
		{"busybox", "registry.example.com/busybox:1", false},
		{"busybox", "team/busybox:1", false},

		{"registry.example.com/*", "registry.example.com/web:$(TAG)", false}, // may become anything
		{"*", "{{image}}", false},
	} {
		if err := (Policy{Allow: []string{"nothing.example.com/*", c.pattern}}).Check(refer(t, c.value)); (err == nil) != c.allowed {
			t.Errorf("%s under %s: %v", c.value, c.pattern, err)
		}
	}
}

// A template that may become an image for which there is a rule would escape it.
func TestMayMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, template string
		want              bool
	}{
		{"*", "{{image}}", true},
		{"registry.example.com/*", "{{image}}", true},
		{"registry.example.com/*", "$(REGISTRY)/web:1", true},
		{"registry.example.com/*", "reg{{rest}}", true},
		{"registry.example.com/*", "registry.example.com/team/web:{{tag}}", true},
		{"registry.example.com/*", "registry.example.com/{{name}}", true},
		{"registry.example.com/*", "Registry.example.com:443/team/web:$(TAG)", true},
		{"registry.example.com/team/*", "registry.example.com/te{{rest}}", true},
		{"registry.example.com/team/*", "registry.example.com/team/a{{rest}}", true},
		{"registry.example.com/team/*", "registry.example.com/other/{{name}}", false},
		{"registry.example.com/team/web", "registry.example.com/team/{{name}}", true},
		{"registry.example.com/team/web", "registry.example.com/team/web:{{tag}}", true},
		{"registry.example.com/team/web", "registry.example.com/team/web2:{{tag}}", false},
		{"registry.example.com/team/web", "registry.example.com/team/web2{{rest}}", false},
		{"registry.example.com/*", "other.example.com/team/web:{{tag}}", false},
		{"docker.io/team/*", "team/web:{{tag}}", true},
		{"docker.io/team/*", "registry-1.docker.io/team/web:{{tag}}", true},
		{"docker.io/team/*", "other/web:{{tag}}", false},
	} {
		if got := MayMatch(c.pattern, c.template); got != c.want {
			t.Errorf("%s under %s: %t", c.template, c.pattern, got)
		}
	}
}

func TestNoPolicyAllowsAll(t *testing.T) {
	if err := (Policy{}).Check(refer(t, "web", "web:latest", "web@"+digest, "{{image}}")); err != nil {
		t.Error(err)
	}
}

// A refusal names the rule, the object and the field, and every refused reference is named.
func TestRefusalsAreAllNamed(t *testing.T) {
	err := Policy{DenyTags: []string{"latest"}, Allow: []string{"registry.example.com/*"}}.Check(
		refer(t, "registry.example.com/a:1", "registry.example.com/b", "other.example.com/c:1", "{{d}}"))
	var first *RefusedError
	if !errors.As(err, &first) || first.Value != "registry.example.com/b" || first.Path != "spec.image" || first.Object.Name != "x" || !strings.Contains(first.Rule, "denyTags has latest") {
		t.Errorf("got %+v", first)
	}
	for _, want := range []string{
		"Pod/data/x: spec.image: registry.example.com/b is refused: images.denyTags has latest",
		"other.example.com/c:1 is refused: images.allow has no pattern for other.example.com/c",
		"{{d}} is refused: images.allow",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "registry.example.com/a") {
		t.Errorf("the one that is allowed is named: %v", err)
	}
}

func TestRepository(t *testing.T) {
	for reference, want := range map[string]string{
		"busybox":                                 "index.docker.io/library/busybox",
		"busybox:1@" + digest:                     "index.docker.io/library/busybox",
		"docker.io/library/busybox:1":             "index.docker.io/library/busybox",
		"team/web":                                "index.docker.io/team/web",
		"registry.example.com:5000/a/b:1":         "registry.example.com:5000/a/b",
		"registry.example.com:5000/a/b@" + digest: "registry.example.com:5000/a/b",
		"Registry.example.com/a":                  "registry.example.com/a",
		"registry.example.com:443/a":              "registry.example.com/a",
		"registry.example.com:80/a@" + digest:     "registry.example.com/a",
		"registry-1.docker.io/busybox":            "index.docker.io/library/busybox",
		"DOCKER.IO/busybox:1":                     "index.docker.io/library/busybox",
		"Registry-1.Docker.io:443/team/web":       "index.docker.io/team/web",
		"localhost:5000/a":                        "localhost:5000/a",
	} {
		if got := Repository(reference); got != want {
			t.Errorf("%s: %s, want %s", reference, got, want)
		}
		if got := Repository(want); got != want {
			t.Errorf("%s is not its own repository: %s", want, got)
		}
	}
}
