package server

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/view"
)

// publisher is a daemon that shows what a test publishes.
type publisher struct {
	objects func(context.Context, v1alpha1.Target) ([]health.Object, error)

	mu      sync.Mutex
	view    *view.View
	changed chan struct{}
}

func publish(v *view.View) *publisher {
	return &publisher{view: v, changed: make(chan struct{})}
}

// Publish shows a newer view.
func (p *publisher) Publish(v *view.View) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.view = v
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *publisher) View() *view.View {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.view
}

func (p *publisher) Changed() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changed
}

func (p *publisher) Objects(ctx context.Context, target v1alpha1.Target) ([]health.Object, error) {
	if p.objects == nil {
		return nil, errors.New("no object was asked for")
	}
	return p.objects(ctx, target)
}

func (p *publisher) Wake()                        {}
func (p *publisher) Ready() error                 { return nil }
func (p *publisher) Alive() error                 { return nil }
func (p *publisher) Metrics() prometheus.Gatherer { return prometheus.NewRegistry() }

func commitHash(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text)))[:40] }
func digestOf(text string) string   { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(text))) }

// team are the commits of the fixture, the newest first.
var team = []struct{ author, subject string }{
	{"Ada Data <ada@example.com>", "Read orders in smaller batches"},
	{"Grace Stream <grace@example.com>", "Revert \"Use Spark 4\""},
	{"Alan Batch <alan@example.com>", "Keep raw events for ninety days, as the data office asked in its review of January, and delete what is older in the night"},
	{"Katherine Orbit <katherine@example.com>", "Raise the memory of executors"},
	{"Margaret Moon <margaret@example.com>", "Use Spark 4"},
	{"Ada Data <ada@example.com>", "Split sessions at midnight in the time zone of the shop and not in that of the cluster"},
	{"Rózsa Péter <rozsa@example.com>", "Zeitzonen für Berichte; 時間帯を直す"},
	{"dependabot[bot] <bot@example.com>", "Bump registry.example.com/data/base-images/spark-with-everything-that-we-need from v3.5.1-20260101T000000Z to v3.5.2-20260201T000000Z"},
}

// names of the fixture's pipelines.
var names = []string{
	"airflow-config", "clickstream-ingest", "customer-lifetime-value-and-churn-prediction-with-explanations", "dbt-nightly", "feature-store",
	"fraud-scores", "inventory-snapshot", "orders-daily", "raw-events-retention", "search-index", "session-enrichment", "warehouse-export",
}

// fixture is what a daemon may know on a bad morning: every state, drift of every kind, held changes, rollbacks.
func fixture(now time.Time) *view.View {
	ago := func(d time.Duration) *time.Time {
		at := now.Add(-d)
		return &at
	}
	v := &view.View{
		At: now, Configuration: "data-platform",
		Source: view.Source{URL: "https://git.example.com/data/pipelines.git", Follows: "main", Commit: commitHash(team[0].subject), FetchedAt: ago(12 * time.Second)},
		Environments: []view.Environment{
			{Name: "dev", Drift: v1alpha1.DriftPolicy("Correct")}, {Name: "staging", Drift: "Report"}, {Name: "prod", Drift: "Report", PromoteFrom: "staging"},
		},
		Commits: []view.Commit{}, Targets: []view.Target{}, Events: []view.Event{},
		Replica: view.Replica{Identity: "syncer-7c9f8d6b5-x2x4q", Version: "v0.3.0", Leads: []string{"dev", "staging", "prod"}},
	}
	for i, c := range team {
		v.Commits = append(v.Commits, view.Commit{Hash: commitHash(c.subject), Author: c.author, Subject: c.subject, Time: *ago(time.Duration(i*7)*time.Hour + 9*time.Minute)})
	}
	for i, name := range names {
		for n, e := range v.Environments {
			v.Targets = append(v.Targets, fixtureTarget(now, i, n, name, e.Name))
		}
	}
	misfortunes(now, v)
	v.Events = fixtureEvents(now, v)
	return v
}

// fixtureTarget is a target to which nothing bad happened.
func fixtureTarget(now time.Time, i, n int, name, environment string) view.Target {
	runs := (i + n) % (len(team) - 3)
	at := now.Add(-time.Duration(i*5+n*3+1) * time.Hour)
	reference := "registry.example.com/data/" + name + ":v1.4.2"
	t := view.Target{
		Target: drift.Target{
			Pipeline: name, Environment: environment, State: drift.Ready, Message: "commit " + commitHash(team[runs].subject)[:8] + " is applied and healthy", Commit: commitHash(team[runs].subject),
			Author: team[runs].author, Subject: team[runs].subject, DeployedAt: &at, Behind: n * (i % 3), Unpinned: []drift.Unpinned{}, Deployments: []drift.Deployment{},
			Images: []drift.Image{{Reference: reference, Digest: digestOf(name)}},
		},
		Owner: fmt.Sprintf("team-%c@example.com", 'a'+i%4), Folder: "pipelines/" + name,
		Findings: []drift.Finding{}, Past: []drift.Past{}, Held: []v1alpha1.HeldChange{}, Conditions: []metav1.Condition{},
		Pins: []v1alpha1.PinnedImage{
			{Reference: reference, Digest: digestOf(name), ResolvedAt: metav1.NewTime(at), Commit: commitHash(team[runs].subject)},
			{Reference: "registry.example.com/data/" + name + ":v1.4.1", Digest: digestOf(name + "old"), ResolvedAt: metav1.NewTime(at.Add(-90 * time.Hour)), Commit: commitHash(team[runs+1].subject), UnusedSince: &metav1.Time{Time: at}},
		},
	}
	if environment == "prod" {
		t.Pins[0].PromotedFrom = "staging"
	}
	for number := range 4 {
		c := team[(runs+number)%len(team)]
		when := at.Add(-time.Duration(number*31) * time.Hour)
		healthy := when.Add(3 * time.Minute)
		d := drift.Deployment{
			Number: int64(9 - number), Commit: commitHash(c.subject), Author: c.author, Subject: c.subject, Time: when, Outcome: "Applied", HealthyAt: &healthy,
			Images: []drift.Image{{Reference: reference, Digest: digestOf(name)}},
		}
		if number > 1 {
			d.Images[0] = drift.Image{Reference: "registry.example.com/data/" + name + ":v1.4.1", Digest: digestOf(name + "old")}
		}
		t.Deployments = append(t.Deployments, d)
	}
	for _, kind := range []string{"ConfigMap", "CronJob", "ServiceAccount", "SparkApplication"} {
		t.Objects = append(t.Objects, manifest.ID{APIVersion: map[string]string{"ConfigMap": "v1", "CronJob": "batch/v1", "ServiceAccount": "v1", "SparkApplication": "sparkoperator.k8s.io/v1beta2"}[kind], Kind: kind, Namespace: "data-" + environment, Name: name})
	}
	for _, c := range []metav1.Condition{
		{Type: "Ready", Status: "True", Reason: "Applied", Message: t.Message}, {Type: "Reconciling", Status: "False", Reason: "Done"}, {Type: "Drifted", Status: "False", Reason: "NoDrift"},
	} {
		c.LastTransitionTime = metav1.NewTime(at)
		t.Conditions = append(t.Conditions, c)
	}
	return t
}

// misfortunes happen to some targets.
func misfortunes(now time.Time, v *view.View) {
	ago := func(d time.Duration) *time.Time {
		at := now.Add(-d)
		return &at
	}
	const back = 6
	at := func(name, environment string) *view.Target { return v.Target(name, environment) }

	t := at("airflow-config", "dev")
	t.State, t.Message = drift.Progressing, "StatefulSet/data-dev/airflow: 1 of 3 pods ready"

	t = at("clickstream-ingest", "prod")
	t.Deployments[0].RollbackOf, t.Deployments[1].Outcome, t.Deployments[1].HealthyAt = back, "Failed", nil
	t = at("clickstream-ingest", "staging")
	t.Images = append(t.Images, drift.Image{Reference: t.Images[0].Reference, Digest: digestOf("a second container")}, drift.Image{Reference: "docker.io/library/busybox:1.36", Digest: digestOf("busybox")}, drift.Image{Reference: "quay.io/prometheus/statsd-exporter@" + digestOf("exporter"), Digest: digestOf("exporter")})

	t = at("feature-store", "staging")
	t.State, t.Message = drift.Failed, "applying 3fd0a1b2: Deployment/data-staging/feature-store: container web: CrashLoopBackOff: back-off 5m0s restarting failed container=web pod=feature-store-6d5f7c9b8d-hk2lp"
	t.Deployments[0].Outcome, t.Deployments[0].HealthyAt = "Failed", nil
	t = at("feature-store", "dev")
	t.State, t.Message, t.Commit, t.DeployedAt, t.Behind = drift.Waiting, "waits for the pipeline `dbt-nightly`, on which it depends", "", nil, -1
	t.Images, t.Deployments, t.Pins, t.Objects, t.Conditions = []drift.Image{}, []drift.Deployment{}, []v1alpha1.PinnedImage{}, []manifest.ID{}, []metav1.Condition{}

	at("orders-daily", "prod").Images[0].Digest = digestOf("other bytes")
	orders := at("orders-daily", "prod")
	cron := manifest.ID{APIVersion: "batch/v1", Kind: "CronJob", Namespace: "data-prod", Name: "orders-daily"}
	orders.Findings = []drift.Finding{
		{Kind: drift.Modified, Severity: drift.Critical, Object: cron, Path: "spec.jobTemplate.spec.template.spec.containers[name=orders-daily].image", Desired: "registry.example.com/data/orders-daily:v1.4.2@" + digestOf("orders-daily"), Live: "registry.example.com/data/orders-daily:hotfix", Manager: "kubectl-set", Operation: "Update", User: "grace@example.com", Time: ago(40 * time.Minute), File: "pipelines/orders-daily/base/cronjob.yaml", Line: 14, Message: "kubectl-set changed spec.jobTemplate.spec.template.spec.containers[name=orders-daily].image of CronJob/data-prod/orders-daily; commit the change or run `syncer sync --correct`"},
		{Kind: drift.Added, Severity: drift.Warning, Object: cron, Path: "spec.jobTemplate.spec.template.spec.containers[name=orders-daily].env[name=DEBUG]", Live: map[string]any{"name": "DEBUG", "value": "1"}, Manager: "kubectl-edit", Operation: "Update", Time: ago(38 * time.Minute), Message: "kubectl-edit added spec.jobTemplate.spec.template.spec.containers[name=orders-daily].env[name=DEBUG] to CronJob/data-prod/orders-daily; git does not have it: commit it, remove it there, or let an ignore rule name it"},
		{Kind: drift.Modified, Severity: drift.Warning, Object: cron, Path: "spec.schedule", Desired: "*/15 * * * *", Live: "0 3 * * *", Manager: "kubectl-patch", Operation: "Update", Time: ago(3 * time.Hour), File: "pipelines/orders-daily/overlays/prod/kustomization.yaml", Line: 9, Message: "kubectl-patch changed spec.schedule of CronJob/data-prod/orders-daily; commit the change or run `syncer sync --correct`"},
		{Kind: drift.Modified, Severity: drift.Info, Object: cron, Path: "metadata.annotations[\"example.com/note\"]", Desired: "short", Live: "a note that is so long that nobody wants to read it as a whole in a list of findings, and that goes on and on, about what was done in the night of the incident, by whom, and why nobody thought of committing it; it even names the ticket, the chat and the call, and then it says the same again in other words", Message: "somebody changed metadata.annotations[\"example.com/note\"]"},
		{Kind: drift.Missing, Severity: drift.Critical, Object: manifest.ID{APIVersion: "v1", Kind: "ServiceAccount", Namespace: "data-prod", Name: "orders"}, FirstSeen: ago(9 * time.Hour), Message: "ServiceAccount/data-prod/orders is in git and not in the cluster; `syncer sync --correct` creates it again"},
		{Kind: drift.Orphaned, Severity: drift.Warning, Object: manifest.ID{APIVersion: "v1", Kind: "ConfigMap", Namespace: "data-prod", Name: "orders-old"}, Message: "ConfigMap/data-prod/orders-old is no longer in git; the next sync deletes it"},
	}
	orders.Total = len(orders.Findings) + 7
	orders.Message = "6 objects differ from the commit"
	past := orders.Findings[2]
	past.Path, past.User = "spec.jobTemplate.spec.backoffLimit", "alan@example.com"
	orders.Past = []drift.Past{{Finding: past, EndedAt: now.Add(-5 * time.Hour), Ending: drift.Corrected}, {Finding: past, EndedAt: now.Add(-50 * time.Hour), Ending: drift.Gone}}
	orders.Deployments[0].RollbackOf = back
	orders.Deployments[2].Outcome, orders.Deployments[2].HealthyAt = "Failed", nil
	orders.Deployments[1].AllowedBy = "Margaret Moon <margaret@example.com>"

	session := at("session-enrichment", "prod")
	spark := manifest.ID{APIVersion: "sparkoperator.k8s.io/v1beta2", Kind: "SparkApplication", Namespace: "data-prod", Name: "session-enrichment"}
	session.State, session.Message, session.Behind = drift.Waiting, "the change of SparkApplication/data-prod/session-enrichment waits: the application is RUNNING", 3
	session.Held = []v1alpha1.HeldChange{
		{ObjectReference: v1alpha1.ObjectReference{APIVersion: spark.APIVersion, Kind: spark.Kind, Namespace: spark.Namespace, Name: spark.Name}, Action: "Update", Reason: "Running", Message: "the application is RUNNING, its driver is session-enrichment-driver", Since: metav1.NewTime(now.Add(-95 * time.Minute))},
		{ObjectReference: v1alpha1.ObjectReference{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: "data-prod", Name: "session-enrichment-checkpoints"}, Action: "Prune", Reason: "InUse", Message: "a pod uses it", Since: metav1.NewTime(now.Add(-94 * time.Minute))},
	}
	session.Findings = []drift.Finding{
		{Kind: drift.Held, Severity: drift.Info, Object: spark, Message: "SparkApplication/data-prod/session-enrichment waits for its change: the application is RUNNING"},
		{Kind: drift.TagMoved, Severity: drift.Warning, Object: spark, Path: "spec.image", Desired: digestOf("session-enrichment"), Live: digestOf("moved"), FirstSeen: ago(26 * time.Hour), Message: "the tag of registry.example.com/data/session-enrichment:v1.4.2 moved; SparkApplication/data-prod/session-enrichment keeps the digest that it was deployed by (refresh the pin in pipeline.yaml to deploy what the tag is now)"},
		{Kind: drift.ImageMissing, Severity: drift.Critical, Object: spark, Path: "spec.driver.image", Desired: digestOf("gone"), FirstSeen: ago(2 * time.Hour), Message: "its registry no longer has it"},
		{Kind: drift.NotRerun, Severity: drift.Warning, Object: spark, Message: "it was changed after its run had ended; set `rerun: OnChange` in pipeline.yaml"},
	}
	session.Total = len(session.Findings)
	session.Conditions = append(session.Conditions, metav1.Condition{Type: "Held", Status: "True", Reason: "Running", Message: session.Message, LastTransitionTime: metav1.NewTime(now.Add(-95 * time.Minute))})

	export := at("warehouse-export", "dev")
	export.State, export.Behind, export.Error = drift.Unknown, -1, "listing the CronJob objects of warehouse-export@dev: the server is currently unable to handle the request"
	export.Message = ""
	for i := range v.Targets {
		for n := range v.Targets[i].Findings {
			v.Targets[i].Findings[n].Pipeline, v.Targets[i].Findings[n].Environment = v.Targets[i].Pipeline, v.Targets[i].Environment
		}
	}
	// One pipeline is in two environments only.
	for i := range v.Targets {
		if v.Targets[i].Pipeline == "search-index" && v.Targets[i].Environment == "prod" {
			v.Targets = append(v.Targets[:i], v.Targets[i+1:]...)
			break
		}
	}
}

func fixtureEvents(now time.Time, v *view.View) []view.Event {
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	return []view.Event{
		{Time: ago(4 * time.Minute), Kind: view.EventHealthy, Pipeline: "dbt-nightly", Environment: "dev", Commit: commitHash(team[0].subject), Severity: drift.Info, Message: "every object of deployment #9 is healthy"},
		{Time: ago(7 * time.Minute), Kind: view.EventDeployed, Pipeline: "dbt-nightly", Environment: "dev", Commit: commitHash(team[0].subject), Severity: drift.Info, Message: team[0].subject + ", by " + team[0].author},
		{Time: ago(40 * time.Minute), Kind: view.EventDrifted, Pipeline: "orders-daily", Environment: "prod", Severity: drift.Critical, Message: v.Target("orders-daily", "prod").Findings[0].Message},
		{Time: ago(95 * time.Minute), Kind: view.EventHeld, Pipeline: "session-enrichment", Environment: "prod", Commit: commitHash(team[0].subject), Severity: drift.Warning, Message: v.Target("session-enrichment", "prod").Message},
		{Time: ago(5 * time.Hour), Kind: view.EventEnded, Pipeline: "orders-daily", Environment: "prod", Severity: drift.Info, Message: "spec.jobTemplate.spec.backoffLimit of CronJob/data-prod/orders-daily was corrected"},
		{Time: ago(26 * time.Hour), Kind: view.EventFailed, Pipeline: "feature-store", Environment: "staging", Commit: commitHash(team[1].subject), Severity: drift.Critical, Message: v.Target("feature-store", "staging").Message},
		{Time: ago(27 * time.Hour), Kind: view.EventRolledBack, Pipeline: "clickstream-ingest", Environment: "prod", Commit: commitHash(team[1].subject), Severity: drift.Info, Message: "returns to deployment #6: " + team[1].subject},
		{Time: ago(50 * time.Hour), Kind: view.EventDrifted, Pipeline: "customer-lifetime-value-and-churn-prediction-with-explanations", Environment: "staging", Severity: drift.Warning, Message: "kubectl-edit changed spec.sparkConf[\"spark.kubernetes.driver.podTemplateContainerName.with.a.very.long.key.that.never.ends\"] of SparkApplication/data-staging/customer-lifetime-value-and-churn-prediction-with-explanations"},
	}
}

// fixtureObjects are the live objects of any target.
func fixtureObjects(_ context.Context, target v1alpha1.Target) ([]health.Object, error) {
	object := func(version, kind, name, state, message string, touched bool) health.Object {
		return health.Object{Object: manifest.ID{APIVersion: version, Kind: kind, Namespace: "data-" + target.Environment, Name: name}, Health: state, Message: message, Touched: touched}
	}
	return []health.Object{
		object("v1", "ConfigMap", target.Pipeline, "Healthy", "", true),
		object("batch/v1", "CronJob", target.Pipeline, "InProgress", "its last Job has not ended", false),
		object("batch/v1", "Job", target.Pipeline+"-migrate", "Completed", "", false),
		object("apps/v1", "Deployment", target.Pipeline, "Failed", "container web: CrashLoopBackOff: back-off 5m0s restarting failed container=web pod=web-6d5f7c9b8d-hk2lp", false),
		object("v1", "ServiceAccount", target.Pipeline, "Missing", "", false),
		object("example.com/v1", "Training", target.Pipeline, "Odd", "", false),
	}, nil
}

// large is a view of so many pipelines, in three environments each.
func large(now time.Time, pipelines int) *view.View {
	v := fixture(now)
	v.Targets = v.Targets[:0]
	for i := range pipelines {
		for n, e := range v.Environments {
			v.Targets = append(v.Targets, fixtureTarget(now, i, n, fmt.Sprintf("pipeline-%03d", i), e.Name))
		}
	}
	return v
}
