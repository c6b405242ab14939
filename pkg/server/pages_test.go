package server

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/view"
)

var morning = time.Date(2026, 3, 3, 12, 0, 0, 0, time.UTC)

// readers is the handler of the pages alone, with a clock that stands.
func readers(daemon Daemon) http.Handler {
	s := &site{daemon: daemon, now: func() time.Time { return morning }}
	mux := http.NewServeMux()
	s.mount(mux)
	return mux
}

// getPage asks for a page as a browser does.
func getPage(t *testing.T, handler http.Handler, method, path string) *httptest.ResponseRecorder {
	t.Helper()
	out := httptest.NewRecorder()
	handler.ServeHTTP(out, httptest.NewRequestWithContext(t.Context(), method, path, nil))
	return out
}

// pageText is a page that has to be there.
func pageText(t *testing.T, handler http.Handler, path string) string {
	t.Helper()
	out := getPage(t, handler, http.MethodGet, path)
	if out.Code != http.StatusOK {
		t.Fatalf("%s: %d: %s", path, out.Code, out.Body)
	}
	return out.Body.String()
}

// every page that a fixture has, and what is none.
func everyPage() []string {
	return []string{"/", "/?q=orders-daily", "/pipelines/orders-daily?health=prod", "/commits", "/commits/" + commitHash(team[0].subject), "/events", "/nowhere", "/pipelines/none", "/commits/none"}
}

func TestPagesSayWhatBrowsersMayDo(t *testing.T) {
	handler := readers(publish(fixture(morning)))
	for _, path := range append(everyPage(), "/static/none.css", "/pipelines", assetPaths["css"], assetPaths["js"]) {
		out := getPage(t, handler, http.MethodGet, path)
		policy := out.Header().Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} {
			if !slices.Contains(strings.Split(policy, "; "), want) {
				t.Errorf("%s: the policy lacks %s: %s", path, want, policy)
			}
		}
		if strings.Contains(policy, "unsafe") {
			t.Errorf("%s: the policy is %s", path, policy)
		}
		for key, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin"} {
			if got := out.Header().Get(key); got != want {
				t.Errorf("%s: %s is %q", path, key, got)
			}
		}
		cache := "no-store"
		if out.Code == http.StatusOK && strings.HasPrefix(path, "/static/") {
			cache = "public, max-age=31536000, immutable"
		}
		if got := out.Header().Get("Cache-Control"); got != cache {
			t.Errorf("%s: Cache-Control is %q", path, got)
		}
	}
}

// A policy without unsafe-inline only holds what has nothing in itself.
func TestPagesHaveNothingInline(t *testing.T) {
	d := publish(fixture(morning))
	d.objects = fixtureObjects
	handler := readers(d)
	inline := regexp.MustCompile(`(?i)<style|<script[^>]*>[^<]|\sstyle=|\son[a-z]+=|javascript:|https?://[^<"]*\.(js|css)`)
	for _, path := range everyPage() {
		if found := inline.FindString(getPage(t, handler, http.MethodGet, path).Body.String()); found != "" {
			t.Errorf("%s has %s", path, found)
		}
	}
}

func TestPagesAreForReading(t *testing.T) {
	handler := readers(publish(fixture(morning)))
	for _, path := range append(everyPage(), "/stream", "/pipelines", assetPaths["css"]) {
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions, http.MethodTrace, "PROPFIND"} {
			out := getPage(t, handler, method, path)
			if out.Code != http.StatusMethodNotAllowed || out.Header().Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %s: %d, %s", method, path, out.Code, out.Header().Get("Allow"))
			}
		}
		if head, whole := getPage(t, handler, http.MethodHead, path), http.StatusOK; path != "/stream" {
			whole = getPage(t, handler, http.MethodGet, path).Code
			if head.Code != whole {
				t.Errorf("HEAD %s: %d, and GET: %d", path, head.Code, whole)
			}
		}
	}
}

func TestWhatIsNotThereIsSaid(t *testing.T) {
	v := fixture(morning)
	handler := readers(publish(v))
	for path, want := range map[string]string{
		"/nowhere": "There is no such page", "/pipelines/orders": "There is no pipeline orders", "/pipelines/orders-daily/more": "There is no such page",
		"/commits/none": "There is no commit none", "/commits/ab": "There is no commit ab", "/pipelines/%3Cb%3E": "There is no pipeline &lt;b&gt;",
	} {
		out := getPage(t, handler, http.MethodGet, path)
		if out.Code != http.StatusNotFound || !strings.Contains(out.Body.String(), want) {
			t.Errorf("%s: %d: %s", path, out.Code, out.Body)
		}
	}
	if !strings.Contains(getPage(t, handler, http.MethodGet, "/pipelines/orders").Body.String(), `href="/pipelines/orders-daily"`) {
		t.Error("a pipeline of a similar name is not named")
	}
	// What cannot be read now is not said to be absent.
	v.Environments[2].Error = "away"
	if !strings.Contains(getPage(t, handler, http.MethodGet, "/pipelines/none").Body.String(), "Not all of them can be read now") {
		t.Error("a pipeline is said to be absent although an environment cannot be read")
	}
}

// rowsOf are the pipelines of the matrix, in its order.
func rowsOf(t *testing.T, handler http.Handler, address string) []string {
	t.Helper()
	out := []string{}
	for _, found := range regexp.MustCompile(`<tr role="row" data-key="([^"]*)">`).FindAllStringSubmatch(pageText(t, handler, address), -1) {
		out = append(out, found[1])
	}
	return out
}

func TestMatrixIsSearchedAndSorted(t *testing.T) {
	handler := readers(publish(fixture(morning)))
	reversed := slices.Clone(names)
	slices.Reverse(reversed)
	for address, want := range map[string][]string{
		"/":                                names,
		"/?sort=name":                      names,
		"/?sort=-name":                     reversed,
		"/?sort=nonsense&env=none&state=x": names,
		"/?q=ORDERS-daily":                 {"orders-daily"},
		"/?q=enrichment+prod":              {"session-enrichment"},
		"/?q=zebra":                        {},
		"/?q=" + digestOf("other bytes"):   {"orders-daily"},
		"/?state=Failed":                   {"feature-store"},
		"/?state=Held":                     {"feature-store", "session-enrichment"},
		"/?state=Held&env=prod":            {"session-enrichment"},
		"/?state=drifted":                  {"orders-daily", "session-enrichment"},
		"/?state=drifted&env=dev":          {},
		"/?state=Unknown":                  {"warehouse-export"},
		"/?q=team-b&state=Held":            {},
	} {
		if diff := cmp.Diff(want, rowsOf(t, handler, address)); diff != "" {
			t.Errorf("%s (- wanted, + shown):\n%s", address, diff)
		}
	}
	for address, first := range map[string][]string{
		"/?sort=state":          {"feature-store", "warehouse-export", "session-enrichment", "airflow-config"},
		"/?sort=state@prod":     {"session-enrichment", "airflow-config"},
		"/?sort=drift":          {"orders-daily", "session-enrichment"},
		"/?sort=behind":         {"customer-lifetime-value-and-churn-prediction-with-explanations", "fraud-scores"},
		"/?sort=behind&env=dev": {"airflow-config"},
		"/?sort=age":            {"airflow-config", "clickstream-ingest"},
		"/?sort=-age":           {"warehouse-export"},
	} {
		if got := rowsOf(t, handler, address); !slices.Equal(got[:len(first)], first) {
			t.Errorf("%s begins with %v", address, got[:len(first)])
		}
	}
}

// The whole state is in the address: a link that changes one part of it keeps the others.
func TestMatrixLinksKeepTheRest(t *testing.T) {
	text := pageText(t, readers(publish(fixture(morning))), "/?q=data+ada&sort=-name&env=prod&state=Ready&other=x")
	for _, want := range []string{
		`<input id="q" name="q" type="search" value="data ada"`, `<option value="prod" selected>`, `<option value="Ready" selected>`, `<option value="-name" selected>`,
		`aria-sort="descending"><a class="sort" href="/?env=prod&amp;q=data&#43;ada&amp;sort=name&amp;state=Ready">Pipeline</a>`,
		`<a class="sort" href="/?env=prod&amp;q=data&#43;ada&amp;sort=state%40prod&amp;state=Ready">prod</a>`,
		`<a class="chip ok" href="/?env=prod&amp;q=data&#43;ada&amp;sort=-name" aria-current="true">`,
		`<a class="chip warning" href="/?env=prod&amp;q=data&#43;ada&amp;sort=-name&amp;state=behind">`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not have %s", want)
		}
	}
	if strings.Contains(text, "other") {
		t.Error("a part of the address that means nothing is kept")
	}
	if strings.Contains(text, ">staging</a>") {
		t.Error("an environment that was not asked for is shown")
	}
}

func TestEventsAreFiltered(t *testing.T) {
	handler := readers(publish(fixture(morning)))
	for address, want := range map[string]int{
		"/events": 8, "/events?env=prod": 4, "/events?kind=Drifted": 2, "/events?kind=Drifted&env=prod": 1, "/events?pipeline=orders-daily": 2, "/events?q=kubectl": 2, "/events?q=zebra": 0, "/events?env=none": 0,
	} {
		text := pageText(t, handler, address)
		if got := strings.Count(text, "<time class=\"soft\""); got != want {
			t.Errorf("%s shows %d events", address, got)
		}
		if (want == 0) != strings.Contains(text, "Nothing matches") {
			t.Errorf("%s: it is said that nothing matches, or not, wrongly", address)
		}
	}
}

func TestCommitsSayWhereTheyRun(t *testing.T) {
	handler := readers(publish(fixture(morning)))
	text := pageText(t, handler, "/commits?q=smaller")
	if n := strings.Count(text, "<li data-key="); n != 1 || !strings.Contains(text, "✓ dev 3") || !strings.Contains(text, "newest") {
		t.Errorf("%d commits:\n%s", n, text)
	}
	whole := commitHash(team[0].subject)
	if pageText(t, handler, "/commits/"+whole) != strings.ReplaceAll(pageText(t, handler, "/commits/"+whole[:8]), whole[:8]+"?", whole+"?") {
		t.Error("the beginning of a hash leads elsewhere than the hash")
	}
}

// A commit that changed nothing in a target is in no history, and the matrix leads to it all the same.
func TestCommitThatOnlyATargetKnows(t *testing.T) {
	v := fixture(morning)
	old := commitHash("older than what was fetched")
	v.Targets[0].Commit, v.Targets[0].Subject = old, "As old as the hills"
	handler := readers(publish(v))
	if text := pageText(t, handler, "/commits/"+old); !strings.Contains(text, "As old as the hills") || !strings.Contains(text, "not among the newest commits") {
		t.Errorf("it says:\n%s", text)
	}
}

// What cannot be read is said at the top of every page, and since when.
func TestBannersAreOnEveryPage(t *testing.T) {
	v := fixture(morning)
	fetched := morning.Add(-42 * time.Minute)
	v.Source.Error, v.Source.FetchedAt, v.Environments[1].Error = "connection\nrefused", &fetched, "no route to staging"
	handler := readers(publish(v))
	for _, path := range everyPage() {
		text := getPage(t, handler, http.MethodGet, path).Body.String()
		for _, want := range []string{"The repository cannot be read", "42m ago", "connection\nrefused", "staging cannot be read", "no route to staging"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s does not say %q", path, want)
			}
		}
	}
	// What was last read long ago is not old while there is nothing new.
	v.Source.Error, v.Environments[1].Error = "", ""
	if text := pageText(t, handler, "/"); strings.Contains(text, `class="banner`) {
		t.Errorf("there is something to know first:\n%s", text)
	}
}

func TestHealthIsAskedForOnDemand(t *testing.T) {
	daemon := publish(fixture(morning))
	handler := readers(daemon)
	if text := pageText(t, handler, "/pipelines/orders-daily"); strings.Contains(text, "cannot be read now") || !strings.Contains(text, "/pipelines/orders-daily?health=prod#objects-prod") {
		t.Error("health is asked for, or cannot be")
	}
	if text := pageText(t, handler, "/pipelines/orders-daily?health=prod"); !strings.Contains(text, "no object was asked for") || !strings.Contains(text, "Their health cannot be read now") {
		t.Error("the error is not shown")
	}
	daemon.objects = fixtureObjects
	text := pageText(t, handler, "/pipelines/orders-daily?health=prod")
	for _, want := range []string{"✕ Failed", "… In progress", "✕ Missing", "✓ Completed", "≠ changed by somebody", "? Odd", "5 of 6 objects are not as they should be"} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q", want)
		}
	}
}

// One tag with other bytes is marked: where it differs from most places or, where there is no usual one, everywhere.
func TestOddDigestsAreMarked(t *testing.T) {
	target := func(environment, digest string) *view.Target {
		return &view.Target{Target: drift.Target{Environment: environment, Images: []drift.Image{{Reference: "r:v1", Digest: digest}}}}
	}
	for name, c := range map[string]struct {
		digests []string
		odd     []bool
	}{
		"alike":           {[]string{"a", "a", "a"}, []bool{false, false, false}},
		"one of three":    {[]string{"a", "a", "b"}, []bool{false, false, true}},
		"each for itself": {[]string{"a", "b"}, []bool{true, true}},
		"one by its tag":  {[]string{"a", ""}, []bool{false, false}},
	} {
		var targets []*view.Target
		for i, digest := range c.digests {
			targets = append(targets, target(fmt.Sprint(i), digest))
		}
		for i, cell := range imagesOf(targets)[0].Cells {
			if cell.Digests[0].Odd != c.odd[i] {
				t.Errorf("%s: place %d is odd: %t", name, i, cell.Digests[0].Odd)
			}
		}
	}
}

// The command of a rollback does what the page says, with a real git: the pipeline's folder gets its files back, what was
// added since goes, and what stands beside it stays.
func TestRollbackCommand(t *testing.T) {
	for _, folder := range []string{"pipelines/orders", "pipelines/it's an *odd* $(name)", ":(top)orders"} {
		repository := t.TempDir()
		git := func(command string) string {
			t.Helper()
			run := exec.CommandContext(t.Context(), "bash", "-euc", command)
			run.Dir = repository
			run.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
			out, err := run.CombinedOutput()
			if err != nil {
				t.Fatalf("%s: %v: %s", command, err, out)
			}
			return strings.TrimSpace(string(out))
		}
		write := func(path, text string) {
			t.Helper()
			file := filepath.Join(repository, path)
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		git("git init -q")
		write(folder+"/base.yaml", "old")
		write("pipelines/it's an odd one/base.yaml", "old")
		git("git add -A; git commit -qm one")
		old := git("git rev-parse HEAD")
		write(folder+"/base.yaml", "new")
		write(folder+"/added.yaml", "new")
		write("pipelines/it's an odd one/base.yaml", "new")
		git("git add -A; git commit -qm two")
		git(rollback(folder, "orders", old))
		if got := git("git status --porcelain; git log -1 --format=%s"); got != "Roll back orders to "+old[:8] {
			t.Errorf("%s: it leaves %s", folder, got)
		}
		for file, want := range map[string]string{folder + "/base.yaml": "old", "pipelines/it's an odd one/base.yaml": "new"} {
			if got, err := os.ReadFile(filepath.Join(repository, file)); err != nil || string(got) != want {
				t.Errorf("%s holds %s: %v", file, got, err)
			}
		}
		if _, err := os.Stat(filepath.Join(repository, folder, "added.yaml")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: what was added since is still there: %v", folder, err)
		}
	}
}

func TestRollbackIsNotGuessed(t *testing.T) {
	hash := commitHash("a")
	for name, command := range map[string]string{
		"unknown folder": rollback("", "orders", hash), "no hash": rollback("pipelines/orders", "orders", "HEAD; rm -rf /"), "short hash": rollback("pipelines/orders", "orders", hash[:8]),
		"marks of direction": rollback("pipelines/\u202eorders", "orders", hash), "a line more": rollback("pipelines/orders\nrm", "orders", hash),
	} {
		if command != "" {
			t.Errorf("%s: %s", name, command)
		}
	}
	v := fixture(morning)
	text := html.UnescapeString(pageText(t, readers(publish(v)), "/pipelines/orders-daily?env=prod"))
	// Four deployments: one runs, and one failed.
	if n := strings.Count(text, "git restore --source="); n != 2 {
		t.Errorf("%d deployments can be returned to", n)
	}
	v.Target("orders-daily", "prod").LeftGit = true
	gone := html.UnescapeString(pageText(t, readers(publish(v)), "/pipelines/orders-daily?env=prod"))
	if n := strings.Count(gone, "git restore --source="); n != 3 {
		t.Errorf("of a pipeline that left git, %d deployments can be returned to", n)
	}
	back := v.Target("orders-daily", "prod").Deployments[1].Commit
	if want := "git restore --source=" + back + " --staged --worktree -- pipelines/orders-daily &&\ngit commit -m 'Roll back orders-daily to " + back[:8] + "'"; !strings.Contains(text, want) {
		t.Errorf("it does not say %s", want)
	}
}

const hostileText = `<script>alert(1)</script>"'><img src=x onerror=alert(2)> javascript:alert(3) {{.}} </style></details><!-- & ` + "`\u202e\u200b\u200f\x1b[31m\x00gnp.exe"

// harmlessText is as long, and all letters.
var harmlessText = strings.Map(func(r rune) rune {
	if strings.ContainsRune("<>\"'{}&!/=\u202e\u200b\u200f\x1b\x00", r) {
		return 'x'
	}
	return r
}, hostileText)

// hostile is a view in which every text that is not one of a few words ends in another one.
func hostile(v *view.View, text string) *view.View {
	infect(reflect.ValueOf(v).Elem(), text)
	return v
}

// words mean something to a page, wherever they stand.
var words = []string{"", "Applied", "Failed", "Held", "True", "False"}

func infect(v reflect.Value, text string) {
	switch v.Kind() {
	case reflect.String:
		if v.Type() == reflect.TypeFor[string]() && !slices.Contains(words, v.String()) && !isHash(v.String()) {
			v.SetString(v.String() + text)
		}
	case reflect.Interface:
		if !v.IsNil() {
			v.Set(reflect.ValueOf(any([]any{text, map[string]any{text: text}})))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			infect(v.Elem(), text)
		}
	case reflect.Slice:
		for i := range v.Len() {
			infect(v.Index(i), text)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range v.NumField() {
			infect(v.Field(i), text)
		}
	}
}

// outline is what a browser makes of a page beside its text: elements, and the names of their attributes.
func outline(t *testing.T, page string) []string {
	t.Helper()
	var out []string
	decoder := xml.NewDecoder(strings.NewReader(page))
	decoder.Strict, decoder.AutoClose, decoder.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			text := token.Name.Local
			for _, attribute := range token.Attr {
				text += " " + attribute.Name.Local
				if leads := slices.Contains([]string{"href", "src", "action"}, attribute.Name.Local); leads && !strings.HasPrefix(attribute.Value, "#") &&
					(!strings.HasPrefix(attribute.Value, "/") || strings.HasPrefix(attribute.Value, "//")) {
					t.Errorf("a link leads to %s", attribute.Value)
				}
			}
			out = append(out, text)
		case xml.Comment, xml.ProcInst:
			t.Errorf("the page holds %T", token)
		}
	}
}

// What comes from a repository or a cluster is text, whatever it is and wherever it stands: pages of hostile strings are
// built as those of harmless ones.
func TestPagesEscape(t *testing.T) {
	built := map[string][][]string{}
	for _, text := range []string{hostileText, harmlessText} {
		daemon := publish(hostile(fixture(morning), text))
		daemon.view.Source.Error, daemon.view.Environments[0].Error = text, text
		for i := range daemon.view.Targets {
			daemon.view.Targets[i].Folder = `pipelines/<b>"'` // there is no command for one that cannot be read
		}
		objects, err := fixtureObjects(t.Context(), v1alpha1.Target{Pipeline: "orders-daily", Environment: "prod"})
		if err != nil {
			t.Fatal(err)
		}
		infect(reflect.ValueOf(&objects).Elem(), text)
		daemon.objects = func(context.Context, v1alpha1.Target) ([]health.Object, error) { return objects, nil }
		handler := readers(daemon)
		name, in := url.PathEscape("orders-daily"+text), url.QueryEscape("prod"+text)
		for _, path := range []string{
			"/", "/?q=" + url.QueryEscape(text) + "&env=" + in, "/pipelines/" + name, "/pipelines/" + name + "?env=" + in + "&health=" + in,
			"/commits", "/commits/" + commitHash(team[0].subject), "/events", "/events?pipeline=" + url.QueryEscape("orders-daily"+text), "/events?q=" + url.QueryEscape("zebra"+text),
		} {
			page := pageText(t, handler, path)
			built[text] = append(built[text], outline(t, page))
			for _, r := range "\u202e\u200b\u200f\x1b\x00" {
				if strings.ContainsRune(page, r) {
					t.Errorf("%s has the character %U in it", path, r)
				}
			}
			if text == hostileText && !strings.Contains(page, "&lt;script&gt;") {
				t.Errorf("%s does not show the text", path)
			}
		}
		for _, path := range []string{"/pipelines/" + url.PathEscape(text), "/commits/" + url.PathEscape(text), "/" + url.PathEscape(text)} {
			out := getPage(t, handler, http.MethodGet, path)
			if out.Code != http.StatusNotFound {
				t.Errorf("%s: %d", path, out.Code)
			}
			built[text] = append(built[text], outline(t, out.Body.String()))
		}
	}
	if diff := cmp.Diff(built[harmlessText], built[hostileText]); diff != "" {
		t.Errorf("they are built in another way (- harmless, + hostile):\n%s", diff)
	}
}

// A daemon that has read nothing yet has pages all the same.
func TestPagesOfNothing(t *testing.T) {
	handler := readers(publish(&view.View{}))
	for path, want := range map[string]string{"/": "Nothing is deployed yet", "/commits": "No commit was read yet", "/events": "Nothing happened yet"} {
		if text := pageText(t, handler, path); !strings.Contains(text, want) {
			t.Errorf("%s does not say %q", path, want)
		}
	}
}

func TestStaticFilesAreNamedByWhatIsInThem(t *testing.T) {
	handler := readers(publish(fixture(morning)))
	text := pageText(t, handler, "/")
	for kind, path := range assetPaths {
		out := getPage(t, handler, http.MethodGet, path)
		if !strings.Contains(text, `"`+path+`"`) || out.Code != http.StatusOK || out.Body.Len() == 0 || out.Header().Get("Content-Type") == "" {
			t.Errorf("%s: %s: %d, %s", kind, path, out.Code, out.Header())
		}
	}
	if out := getPage(t, handler, http.MethodGet, "/static/site.js"); out.Code != http.StatusNotFound {
		t.Errorf("a file is served by a name without its hash: %d", out.Code)
	}
}

func TestLargeMatrixIsQuick(t *testing.T) {
	handler := readers(publish(large(morning, 100)))
	var took time.Duration
	for began := time.Now(); time.Since(began) < patience; { // a busy machine is slow at times
		start := time.Now()
		pageText(t, handler, "/")
		if took = time.Since(start); took < 2*time.Second { // some thirty milliseconds
			return
		}
	}
	t.Errorf("300 targets took %s", took)
}

func BenchmarkMatrix(b *testing.B) {
	handler := readers(publish(large(morning, 100)))
	for b.Loop() {
		out := httptest.NewRecorder()
		handler.ServeHTTP(out, httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/", nil))
		if out.Code != http.StatusOK {
			b.Fatal(out.Body)
		}
	}
}
