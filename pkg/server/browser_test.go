package server

import (
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/syncerdev/syncer/internal/lab/browser"
	"github.com/syncerdev/syncer/pkg/view"
)

func startBrowser(t *testing.T) *browser.Browser {
	t.Helper()
	chromium, err := browser.Start(t.Context(), t.TempDir(), "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := chromium.Stop(); err != nil {
			t.Errorf("stopping the browser: %v", err)
		}
	})
	return chromium
}

// servePages serves pages over HTTP.
func servePages(t *testing.T, daemon Daemon) string {
	t.Helper()
	server := httptest.NewServer(readers(daemon))
	t.Cleanup(server.Close)
	return server.URL
}

// looks are how every page is looked at.
var looks = map[string]browser.View{
	"phone":        {Width: 360, Height: 800},
	"phone-dark":   {Width: 360, Height: 800, Dark: true, NoScript: true},
	"desktop":      {Width: 1280, Height: 900, NoScript: true},
	"desktop-dark": {Width: 1280, Height: 900, Dark: true},
}

func TestPagesInABrowser(t *testing.T) {
	chromium := startBrowser(t)
	folder := t.TempDir()
	if keep := os.Getenv("SYNCER_SCREENSHOTS"); keep != "" {
		folder = keep
	}
	now := morning
	full := publish(fixture(now))
	full.objects = fixtureObjects
	blind := publish(fixture(now))
	at := now.Add(-42 * time.Minute)
	blind.view.Source.Error, blind.view.Source.FetchedAt = "fetching https://git.example.com/data/pipelines.git: dial tcp 192.0.2.7:443: connect: connection refused", &at
	blind.view.Environments[2].Error = "reading the records: Get \"https://10.0.0.1:6443/apis/syncer.dev/v1alpha1/pipelinesyncs\": net/http: TLS handshake timeout"
	blind.view.Environments[1].Suspended = true
	empty := publish(&view.View{At: now, Configuration: "data-platform", Source: view.Source{URL: "https://git.example.com/data/pipelines.git", Follows: "main"}, Environments: fixture(now).Environments})
	evil := publish(hostile(fixture(now), hostileText))
	evilName := "/pipelines/" + url.PathEscape("orders-daily"+hostileText)
	for name, c := range map[string]struct {
		daemon *publisher
		path   string
		says   []string
		twice  bool // narrow and wide, light and dark, and no more: it is made of what other pages show
	}{
		"matrix":        {full, "/", []string{"12 pipelines in 3 environments", "one tag, different bytes", "could not be compared", "2 more images"}, false},
		"found":         {full, "/?q=orders&state=drifted&env=prod&sort=-name", []string{"1 of 12 pipelines", "Clear all"}, true},
		"none":          {full, "/?q=zebra", []string{"Nothing matches"}, true},
		"blind":         {blind, "/", []string{"The repository cannot be read", "last read 42m ago", "connection refused", "prod cannot be read", "as last read", "suspended"}, false},
		"empty":         {empty, "/", []string{"Nothing is deployed yet"}, false},
		"pipeline":      {full, "/pipelines/orders-daily?health=prod", []string{"kubectl-edit (Update), 38m ago", "of grace@example.com", "pipelines/orders-daily/base/cronjob.yaml:14", "rolled back to #6", "CrashLoopBackOff", "7 more findings"}, false},
		"held":          {full, "/pipelines/session-enrichment?env=prod", []string{"the end of the run", "Changes that wait"}, false},
		"long":          {full, "/pipelines/customer-lifetime-value-and-churn-prediction-with-explanations", []string{"No drift"}, true},
		"sick":          {blind, "/pipelines/warehouse-export?health=dev", []string{"Their health cannot be read now", "no object was asked for"}, true},
		"new":           {full, "/pipelines/feature-store?env=dev", []string{"never applied", "Nothing was deployed yet"}, true},
		"commits":       {full, "/commits", []string{"newest", team[2].subject}, false},
		"commit":        {full, "/commits/" + commitHash(team[0].subject), []string{"Where it is held, and why", "Where it has arrived"}, false},
		"events":        {full, "/events", []string{"rolled back", "drift ended"}, false},
		"no-events":     {empty, "/events", []string{"Nothing happened yet"}, true},
		"evil":          {evil, "/?q=" + url.QueryEscape(hostileText), []string{"<script>alert(1)</script>", "All 12 pipelines"}, true},
		"evil-pipeline": {evil, evilName, []string{"<script>alert(1)</script>", `\u202e`}, true},
		"evil-commit":   {evil, "/commits/" + commitHash(team[0].subject), []string{"<script>alert(1)</script>"}, true},
		"evil-events":   {evil, "/events", []string{"<script>alert(1)</script>"}, true},
		"nowhere":       {full, "/pipelines/orders", []string{"There is no pipeline orders", "orders-daily"}, true},
	} {
		address := servePages(t, c.daemon)
		for look, v := range looks {
			if c.twice && (look == "phone" || look == "desktop") {
				continue
			}
			t.Run(name+"/"+look, func(t *testing.T) {
				t.Parallel()
				seen, err := chromium.Look(address+c.path, v)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(folder, name+"-"+look+".png"), seen.Screenshot, 0o644); err != nil {
					t.Fatal(err)
				}
				judge(t, address, name == "nowhere", seen)
				for _, text := range c.says {
					if !strings.Contains(seen.Text, text) {
						t.Errorf("it does not say %q:\n%s", text, seen.Text)
					}
				}
			})
		}
	}
}

// judge holds what is seen of a page against what every page has to be.
func judge(t *testing.T, address string, notFound bool, seen browser.Seen) {
	t.Helper()
	for _, request := range seen.Requests {
		if !strings.HasPrefix(request, address+"/static/") && !strings.HasPrefix(request, address+"/stream?") {
			t.Errorf("it asks for %s", request)
		}
	}
	for _, complaint := range seen.Complaints {
		if !notFound || !strings.Contains(complaint, "404") { // of the page itself
			t.Errorf("the browser complains: %s", complaint)
		}
	}
	if seen.TooWide {
		t.Error("it scrolls sideways")
	}
	for _, barrier := range seen.Barriers {
		t.Error(barrier)
	}
}
