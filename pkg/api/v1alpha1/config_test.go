package v1alpha1

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const top = "apiVersion: syncer.dev/v1alpha1\nkind: Config\n"

// minimal is a whole configuration; rest stands after it.
const minimal = top + "source: {url: https://git.example.com/data/pipelines.git}\nenvironments: [{name: dev}]\n"

func TestDefaults(t *testing.T) {
	config, err := DecodeConfig("syncer.yaml", []byte(minimal))
	if err != nil {
		t.Fatal(err)
	}
	enabled, percent, deployments, elects := true, 50, 20, true
	want := &Config{
		APIVersion: "syncer.dev/v1alpha1", Kind: "Config", Name: "data-pipelines", Namespace: "syncer-system",
		Source: Source{
			URL: "https://git.example.com/data/pipelines.git", Layout: "pipelines/{pipeline}/overlays/{environment}", Interval: Duration{time.Minute},
		},
		Environments: []Environment{{Name: "dev", Images: ImagePolicy{
			Policy: Pin, Interval: Duration{time.Minute}, KeepPins: KeepPins{Deployments: &deployments, For: Duration{90 * 24 * time.Hour}},
		}, Drift: Report, Prune: Prune{Enabled: &enabled, MaxPercent: &percent, Propagation: Background}, OnRunning: Wait}},
		LeaderElection: &elects,
	}
	if diff := cmp.Diff(want, config); diff != "" {
		t.Error(diff)
	}
}

// The key alone has a daemon listen, and nothing else does.
func TestServerDefaults(t *testing.T) {
	config, err := DecodeConfig("syncer.yaml", []byte(minimal+"server: {}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&Server{Listen: "127.0.0.1:8080"}, config.Server); diff != "" {
		t.Error(diff)
	}
}

func TestEverythingThatIsGivenIsKept(t *testing.T) {
	config, err := DecodeConfig("syncer.yaml", []byte(top+`
name: data-platform
namespace: gitops
source:
  url: ssh://git@git.example.com/data/pipelines.git
  branch: main
  layout: teams/{pipeline}/{environment}
  interval: 30s
  requireFastForward: true
  auth: {username: u, passwordFile: /p, sshKeyFile: /k, knownHostsFile: /h, caFile: /c}
  redirectHosts: ["git2.example.com:8443"]
  limits: {refs: 1, refBytes: 2, redirects: 3, packBytes: 4Ki, objects: 5, objectBytes: 6k, inflatedBytes: 7, files: 8, cacheBytes: 9Gi, memoryBytes: 1536Ki}
registryLimits: {requestsPerMinute: 1, requestsPerLookup: 2, redirects: 3, tagPages: 4, tagBytes: 5, manifestBytes: 6, signatures: 7}
registries:
- {host: registry.example.com, plainHTTP: true, mirror: "mirror.example.com:5000", caFile: /ca, credentialsFile: /cred}
environments:
- name: prod
  cluster: {kubeconfig: /kube, context: prod, allowExec: true}
  images:
    policy: Track
    interval: 10m
    denyTags: [latest]
    allow: ["registry.example.com/*"]
    signatures: [{match: "registry.example.com/*", publicKeyFile: /cosign.pub}]
    keepPins: {deployments: 0, for: 1h}
  drift: Correct
  prune: {enabled: false, maxPercent: 0, maxObjects: 3, maxPerPass: 9, propagation: Foreground}
  onRunning: replace
  suspend: true
kinds:
- {group: example.com, kind: Training, running: "true", healthy: object.a, failed: "false"}
leaderElection: true
shards: {by: Pipeline, count: 4}
render: {workers: 1, timeout: 30s, memory: 128Mi, fileBytes: 2, files: 3, bytes: 4, aliases: 5, nesting: 6, objects: 7, objectBytes: 8, setBytes: 9, images: 10, errorBytes: 11}
server: {listen: ":8443", webhookSecretFile: /hook, tlsCertFile: /crt, tlsKeyFile: /key, auditTokenFile: /audit}
`))
	if err != nil {
		t.Fatal(err)
	}
	disabled, zero, elects := false, 0, true
	want := &Config{
		APIVersion: "syncer.dev/v1alpha1", Kind: "Config", Name: "data-platform", Namespace: "gitops",
		Source: Source{
			URL: "ssh://git@git.example.com/data/pipelines.git", Branch: "main", Layout: "teams/{pipeline}/{environment}", Interval: Duration{30 * time.Second},
			RequireFastForward: true, Auth: SourceAuth{Username: "u", PasswordFile: "/p", SSHKeyFile: "/k", KnownHostsFile: "/h", CAFile: "/c"},
			RedirectHosts: []string{"git2.example.com:8443"},
			Limits: SourceLimits{
				Refs: 1, RefBytes: 2, Redirects: 3, PackBytes: 4096, Objects: 5, ObjectBytes: 6000, InflatedBytes: 7, Files: 8, CacheBytes: 9 << 30, MemoryBytes: 3 << 19,
			},
		},
		RegistryLimits: RegistryLimits{RequestsPerMinute: 1, RequestsPerLookup: 2, Redirects: 3, TagPages: 4, TagBytes: 5, ManifestBytes: 6, Signatures: 7},
		Registries:     []Registry{{Host: "registry.example.com", PlainHTTP: true, Mirror: "mirror.example.com:5000", CAFile: "/ca", CredentialsFile: "/cred"}},
		Render: Render{
			Workers: 1, Timeout: Duration{30 * time.Second}, Memory: 128 << 20, FileBytes: 2, Files: 3, Bytes: 4, Aliases: 5, Nesting: 6,
			Objects: 7, ObjectBytes: 8, SetBytes: 9, Images: 10, ErrorBytes: 11,
		},
		Environments: []Environment{{
			Name: "prod", Cluster: Cluster{Kubeconfig: "/kube", Context: "prod", AllowExec: true}, Drift: Correct,
			Images: ImagePolicy{
				Policy: Track, Interval: Duration{10 * time.Minute}, DenyTags: []string{"latest"}, Allow: []string{"registry.example.com/*"},
				Signatures: []Signature{{Match: "registry.example.com/*", PublicKeyFile: "/cosign.pub"}},
				KeepPins:   KeepPins{Deployments: &zero, For: Duration{time.Hour}},
			},
			Prune: Prune{Enabled: &disabled, MaxPercent: &zero, MaxObjects: 3, MaxPerPass: 9, Propagation: Foreground}, OnRunning: Replace, Suspend: true,
		}},
		Kinds:          []Kind{{Group: "example.com", Kind: "Training", Running: "true", Healthy: "object.a", Failed: "false"}},
		LeaderElection: &elects, Shards: Shards{By: ByPipeline, Count: 4},
		Server: &Server{Listen: ":8443", WebhookSecretFile: "/hook", TLSCertFile: "/crt", TLSKeyFile: "/key", AuditTokenFile: "/audit"},
	}
	if diff := cmp.Diff(want, config); diff != "" {
		t.Error(diff)
	}
}

// Each error names the file and, where there is one, the line.
func TestConfigErrors(t *testing.T) {
	const env = "environments: [{name: dev}]\n"
	source := func(rest string) string { return top + "source:\n  url: x\n" + rest + env }
	environment := func(rest string) string {
		return top + "source: {url: x}\nenvironments:\n- name: dev\n  " + rest + "\n"
	}
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"empty":                 {"", []string{"syncer.yaml: the file is empty"}},
		"only comments":         {"# todo\n", []string{"syncer.yaml: the file is empty"}},
		"only a mark":           {"---\n", []string{"syncer.yaml: the file is empty"}},
		"a mode of verify":      {source("  verify: {mode: Strict, keyring: x}\n"), []string{`syncer.yaml:5: source.verify.mode: "Strict" is not a mode; use Head, EachCommit or None`}},
		"verify without a key":  {source("  verify: {}\n"), []string{"syncer.yaml:5: source.verify: no key may sign; give allowedSignersFile or keyringFile"}},
		"a mode without a key":  {environment("verify: {mode: Head}"), []string{"syncer.yaml:6: environments[0].verify: no key may sign"}},
		"a key given twice":     {source("  verify: {keyring: x, keyringFile: y}\n"), []string{"syncer.yaml:5: source.verify.keyringFile: keyring and keyringFile exclude each other"}},
		"only revoked keys":     {environment("verify: {mode: None, revokedKeys: x}"), []string{"syncer.yaml:6: environments[0].verify.revokedKeys: it is about the keys of this verify"}},
		"a list":                {"- a\n", []string{"syncer.yaml:1: the document is not a map"}},
		"no YAML":               {top + "source: {url: x\n", []string{"syncer.yaml:", "did not find expected"}},
		"two documents":         {minimal + "---\n" + minimal, []string{"more than one YAML document"}},
		"another version":       {strings.Replace(minimal, "v1alpha1", "v1", 1), []string{`syncer.yaml:1: apiVersion: "syncer.dev/v1" is not known; this syncer reads syncer.dev/v1alpha1`}},
		"another kind":          {strings.Replace(minimal, "Config", "Pipeline", 1), []string{`syncer.yaml:2: kind: "Pipeline" stands where Config is expected`}},
		"neither":               {"source: {url: x}\n" + env, []string{"apiVersion: \"\" is not known", "kind: \"\" stands where"}},
		"unknown key":           {minimal + "sources: {}\n", []string{"syncer.yaml:5: sources: unknown key; did you mean source?"}},
		"unknown key below":     {source("  intervall: 5s\n"), []string{"syncer.yaml:5: source.intervall: unknown key; did you mean interval?"}},
		"unknown key in a list": {environment("prune: {maxpercent: 5}"), []string{"syncer.yaml:6: environments[0].prune.maxpercent: unknown key; did you mean maxPercent?"}},
		"a key like no other":   {environment("qqqqqqqqqq: 5"), []string{"syncer.yaml:6: environments[0].qqqqqqqqqq: unknown key (known here: cluster, correctExcept, drift, images, name, onRunning, prune, suspend, verify)"}},
		"several at once":       {source("  a1b2c3d4: 5\n  branche: x\n") + "x1y2z3: 1\n", []string{"syncer.yaml:5: source.a1b2c3d4", "syncer.yaml:6: source.branche", "syncer.yaml:8: x1y2z3"}},
		"a spec level":          {top + "spec:\n  source: {url: x}\n", []string{"syncer.yaml:3: spec: unknown key"}},
		"key twice":             {minimal + "namespace: a\nnamespace: b\n", []string{`syncer.yaml:6: mapping key "namespace" already defined at line 5`}},
		"text for a number":     {environment("prune: {maxPercent: half}"), []string{"syncer.yaml:6: cannot unmarshal !!str `half` into int"}},
		"text for a map":        {top + "source: x\n" + env, []string{"syncer.yaml:3: cannot unmarshal"}},
		"a map for a list":      {top + "source: {url: x}\nenvironments: {name: dev}\n", []string{"syncer.yaml:4: cannot unmarshal"}},
		"wrong types":           {source("  interval: 30\n  requireFastForward: 7\n"), []string{`syncer.yaml:5: "30" is not a duration (write 30s, 5m, 1h)`, "syncer.yaml:6: cannot unmarshal !!int `7` into bool"}},

		"no url":                    {top + "source: {branch: x}\n" + env, []string{"syncer.yaml:3: source.url: it is required"}},
		"no source":                 {top + env, []string{"source.url: it is required"}},
		"no environments":           {top + "source: {url: x}\n", []string{"environments: none is given"}},
		"empty environments":        {top + "source: {url: x}\nenvironments: []\n", []string{"syncer.yaml:4: environments: none is given"}},
		"bad name":                  {minimal + "name: Data_Platform\n", []string{`syncer.yaml:5: name: "Data_Platform" is not a name`}},
		"long name":                 {minimal + "name: " + strings.Repeat("a", 64) + "\n", []string{"syncer.yaml:5: name:"}},
		"bad namespace":             {minimal + "namespace: a/b\n", []string{"syncer.yaml:5: namespace:"}},
		"branch and tag":            {source("  branch: a\n  tag: b\n"), []string{"syncer.yaml:6: source.tag: branch, tag exclude each other"}},
		"tag, semver and commit":    {source("  tag: a\n  semver: '>=1'\n  commit: abc\n"), []string{"syncer.yaml:6: source.semver: tag, semver, commit exclude each other"}},
		"fast-forward of a tag":     {source("  tag: a\n  requireFastForward: true\n"), []string{"syncer.yaml:6: source.requireFastForward: it is about a branch"}},
		"layout without a hole":     {source("  layout: overlays/{environment}\n"), []string{"syncer.yaml:5: source.layout:", "needs {pipeline} once"}},
		"layout with a hole twice":  {source("  layout: '{pipeline}/{environment}/{pipeline}'\n"), []string{"source.layout:"}},
		"layout with both in one":   {source("  layout: '{pipeline}-{environment}'\n"), []string{"put a / between them"}},
		"layout above the root":     {source("  layout: ../{pipeline}/{environment}\n"), []string{"is a path inside the repository"}},
		"layout with an empty part": {source("  layout: '{pipeline}//{environment}'\n"), []string{"without empty parts"}},
		"a limit below zero":        {source("  limits: {refs: -1}\n"), []string{"syncer.yaml:5: source.limits.refs: -1 is below 0"}},
		"a limit of no bytes":       {source("  limits: {packBytes: 12 MB}\n"), []string{`syncer.yaml:5: "12 MB" is not a number of bytes (write 64Mi, 1Gi)`}},
		"a limit of half a byte":    {source("  limits: {packBytes: 0.5}\n"), []string{`"0.5" is not a number of bytes`}},
		"no memory to render":       {"render: {memory: 1Mi}\n" + source(""), []string{"render.memory: 1048576 bytes are too few to render anything; at least 64Mi"}},
		"no time to render":         {"render: {timeout: 5ms}\n" + source(""), []string{"render.timeout: 5ms is too short; at least 1s"}},
		"fewer objects than none":   {"render: {objects: -1}\n" + source(""), []string{"render.objects: -1 is below 0"}},
		"a redirect to an address":  {source("  redirectHosts: ['https://git.example.com']\n"), []string{`source.redirectHosts[0]: "https://git.example.com" is not a host`}},
		"short interval":            {source("  interval: 999ms\n"), []string{"syncer.yaml:5: source.interval: 999ms is too short; at least 1s"}},
		"no interval at all":        {source("  interval: 0s\n"), []string{"syncer.yaml:5: source.interval: 0s is too short"}},
		"interval below zero":       {source("  interval: -1m\n"), []string{"source.interval: -1m0s is too short"}},
		"unknown shards":            {minimal + "shards: {by: Team}\n", []string{`syncer.yaml:5: shards.by: "Team" is no way to split the work; use Environment or Pipeline`}},
		"one shard":                 {minimal + "shards: {by: Pipeline, count: 1}\n", []string{"syncer.yaml:5: shards.count: 1 is not a number of parts; use 2 to 64"}},
		"a count of environments":   {minimal + "shards: {by: Environment, count: 2}\n", []string{"syncer.yaml:5: shards.count: it is for `by: Pipeline`"}},
		"shards without Leases":     {minimal + "leaderElection: false\nshards: {by: Environment}\n", []string{"syncer.yaml:6: shards: parts are given out by Leases"}},
		"password and token":        {source("  auth: {username: u, passwordFile: /p, tokenFile: /t}\n"), []string{"source.auth.tokenFile: passwordFile and tokenFile exclude each other"}},
		"password of nobody":        {source("  auth: {passwordFile: /p}\n"), []string{"source.auth.username: a passwordFile needs a username"}},
		"listening nowhere":         {minimal + "server:\n  listen: localhost\n", []string{`syncer.yaml:6: server.listen: "localhost" is not an address (write 127.0.0.1:8080, or :8080 for every address)`}},
		"listening at a URL":        {minimal + "server: {listen: 'http://localhost:8080'}\n", []string{"syncer.yaml:5: server.listen:"}},
		"listening at a large port": {minimal + "server: {listen: ':65536'}\n", []string{"syncer.yaml:5: server.listen:"}},
		"a certificate alone":       {minimal + "server: {tlsCertFile: a}\n", []string{"syncer.yaml:5: server.tlsCertFile: tlsCertFile and tlsKeyFile go together"}},
		"a key alone":               {minimal + "server: {tlsKeyFile: a}\n", []string{"syncer.yaml:5: server.tlsCertFile: tlsCertFile and tlsKeyFile go together"}},
		"no registry host":          {minimal + "registries:\n- {plainHTTP: true}\n", []string{"syncer.yaml:6: registries[0].host:"}},
		"a URL for a registry":      {minimal + "registries:\n- host: https://registry.example.com\n", []string{"syncer.yaml:6: registries[0].host:"}},
		"a URL for a mirror":        {minimal + "registries:\n- {host: a.example.com, mirror: 'http://b.example.com'}\n", []string{"syncer.yaml:6: registries[0].mirror:"}},
		"a registry twice":          {minimal + "registries:\n- host: a.example.com\n- host: a.example.com\n", []string{`syncer.yaml:7: registries[1].host: "a.example.com" is listed twice`}},
		"an environment twice":      {top + "source: {url: x}\nenvironments:\n- name: dev\n- name: dev\n", []string{`syncer.yaml:6: environments[1].name: "dev" is listed twice`}},
		"an environment's bad name": {top + "source: {url: x}\nenvironments:\n- name: Dev\n", []string{"syncer.yaml:5: environments[0].name:"}},
		"an environment's no name":  {top + "source: {url: x}\nenvironments:\n- drift: Report\n", []string{"environments[0].name: \"\" is not a name"}},
		"unknown image policy":      {environment("images: {policy: pin}"), []string{`syncer.yaml:6: environments[0].images.policy: "pin" is not a policy; use Pin or Track`}},
		"unknown drift policy":      {environment("drift: Ignore"), []string{`syncer.yaml:6: environments[0].drift: "Ignore" is not a policy; use Report or Correct`}},
		"short image interval":      {environment("images: {interval: 999ms}"), []string{"syncer.yaml:6: environments[0].images.interval: 999ms is too short; at least 1s"}},
		"promotion from nowhere":    {environment("images: {promoteFrom: staging}"), []string{`syncer.yaml:6: environments[0].images.promoteFrom: there is no environment "staging"`}},
		"soak without promotion":    {environment("images: {after: 30m}"), []string{"syncer.yaml:6: environments[0].images.after: it says how long promoteFrom's deployment"}},
		"soak below zero":           {environment("images: {promoteFrom: dev, after: -1s}"), []string{"environments[0].images.after:"}},
		"promotion that tracks":     {environment("images: {policy: Track, promoteFrom: dev}"), []string{"syncer.yaml:6: environments[0].images.promoteFrom: promoted digests do not follow tags"}},
		"signature without a match": {environment("images: {signatures: [{publicKeyFile: /k}]}"), []string{"syncer.yaml:6: environments[0].images.signatures[0]: it needs match and publicKeyFile"}},
		"signature without a key":   {environment("images: {signatures: [{match: '*', publicKeyFile: /k}, {match: '*'}]}"), []string{"environments[0].images.signatures[1]: it needs"}},
		"kept pins below zero":      {environment("images: {keepPins: {deployments: -1}}"), []string{"syncer.yaml:6: environments[0].images.keepPins.deployments: -1 is below 0"}},
		"percent above 100":         {environment("prune: {maxPercent: 101}"), []string{"syncer.yaml:6: environments[0].prune.maxPercent: 101 is not between 0 and 100"}},
		"percent below 0":           {environment("prune: {maxPercent: -1}"), []string{"environments[0].prune.maxPercent: -1"}},
		"objects below 0":           {environment("prune: {maxObjects: -1}"), []string{"environments[0].prune.maxObjects: -1 is below 0"}},
		"all at once":               {top + "name: A\nsource: {interval: 1ms}\n" + env, []string{"name:", "source.url:", "source.interval:"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := DecodeConfig("syncer.yaml", []byte(c.text))
			if err == nil {
				t.Fatal("taken")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in:\n%v", want, err)
				}
			}
			for line := range strings.SplitSeq(err.Error(), "\n") {
				if !strings.HasPrefix(line, "syncer.yaml:") || strings.Contains(line, "v1alpha1.") {
					t.Errorf("the line %q", line)
				}
			}
			if _, again := DecodeConfig("syncer.yaml", []byte(c.text)); again.Error() != err.Error() {
				t.Errorf("a second reading says otherwise:\n%v\n%v", err, again)
			}
		})
	}
}

func TestAnchorsAreRead(t *testing.T) {
	config, err := DecodeConfig("syncer.yaml", []byte(top+"source: {url: x}\nenvironments:\n- {name: dev, prune: &p {maxPercent: 10}}\n- {name: prod, prune: *p}\n"))
	if err != nil || *config.Environments[1].Prune.MaxPercent != 10 {
		t.Errorf("%v", err)
	}
	_, err = DecodeConfig("syncer.yaml", []byte(top+"source: {url: x}\nenvironments:\n- {name: dev, prune: &p {maxPercent: 101}}\n- {name: prod, prune: *p}\n"))
	if err == nil || !strings.Contains(err.Error(), "environments[1].prune.maxPercent") {
		t.Errorf("got %v", err)
	}
}

func TestNameFromURL(t *testing.T) {
	for url, want := range map[string]string{
		"https://git.example.com/data/pipelines.git":             "data-pipelines",
		"https://git.example.com/data/pipelines/":                "data-pipelines",
		"git@git.example.com:data/pipelines.git":                 "data-pipelines",
		"ssh://git@git.example.com:2222/data/pipelines.git":      "data-pipelines",
		"https://git.example.com/group/sub/Data_Pipelines.git":   "sub-data-pipelines",
		"https://git.example.com/pipelines":                      "git-example-com-pipelines",
		"../pipelines":                                           "pipelines",
		".":                                                      "syncer",
		"":                                                       "syncer",
		"https://u:hunter2@git.example.com/pipelines.git":        "git-example-com-pipelines",
		"https://hunter2@git.example.com/pipelines":              "git-example-com-pipelines",
		"https://git.example.com/pipelines?token=hunter2":        "git-example-com-pipelines",
		"https://u:p%40hunter2@git.example.com:8443/pipelines":   "8443-pipelines",
		"/srv/git/" + strings.Repeat("long-", 20) + "/pipelines": "",
	} {
		got := nameFromURL(url)
		if strings.Contains(got, "hunter2") || !dnsLabel.MatchString(got) {
			t.Errorf("%s: %s", url, got)
		}
		if !strings.Contains(url, "long-") && got != want {
			t.Errorf("%s: %s, want %s", url, got, want)
		}
	}
}

func TestPipelineNames(t *testing.T) {
	for name, want := range map[string]bool{
		"sessions": true, "daily-revenue": true, "v2.sessions": true, "0": true, "": false, "Sessions": false, "a_b": false, "-a": false, "a-": false, "a/b": false,
		strings.Repeat("a", 180): true, strings.Repeat("a", 181): false,
	} {
		if got := ValidPipelineName(name); got != want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// promotions is a configuration whose environments promote from one another.
func promotions(pairs ...string) string {
	text := top + "source: {url: x}\nenvironments:\n"
	for _, pair := range pairs {
		name, from, _ := strings.Cut(pair, "<")
		text += "- {name: " + name + ", images: {promoteFrom: '" + from + "'}}\n"
	}
	return text
}

func TestPromotionChains(t *testing.T) {
	config, err := DecodeConfig("syncer.yaml", []byte(promotions("prod<staging", "staging<dev", "dev", "test<dev")))
	if err != nil {
		t.Fatal(err)
	}
	for environment, want := range map[string]int{"dev": 0, "staging": 1, "test": 1, "prod": 2, "nothing": 0} {
		if got := config.PromotionDepth(environment); got != want {
			t.Errorf("%s: %d, want %d", environment, got, want)
		}
	}
}

// A circle is named once for each member; who only leads into it is not to blame.
func TestPromotionCircles(t *testing.T) {
	for text, want := range map[string][]string{
		promotions("a<a"): {"syncer.yaml:5: environments[0].images.promoteFrom: promotion goes in a circle: a from a"},
		promotions("a<b", "b<c", "c<a"): {
			"syncer.yaml:5: environments[0].images.promoteFrom: promotion goes in a circle: a from b from c from a",
			"syncer.yaml:6: environments[1].images.promoteFrom: promotion goes in a circle: b from c from a from b",
			"syncer.yaml:7: environments[2].images.promoteFrom: promotion goes in a circle: c from a from b from c",
		},
		promotions("d<a", "a<b", "b<a"): {
			"syncer.yaml:6: environments[1].images.promoteFrom: promotion goes in a circle: a from b from a",
			"syncer.yaml:7: environments[2].images.promoteFrom: promotion goes in a circle: b from a from b",
		},
		promotions("a<b", "b<nothing"): {`syncer.yaml:6: environments[1].images.promoteFrom: there is no environment "nothing"`},
	} {
		_, err := DecodeConfig("syncer.yaml", []byte(text))
		if err == nil {
			t.Errorf("taken:\n%s", text)
			continue
		}
		if diff := cmp.Diff(want, strings.Split(err.Error(), "\n")); diff != "" {
			t.Error(diff)
		}
	}
}
