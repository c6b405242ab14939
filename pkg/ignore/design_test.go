package ignore

import (
	"fmt"
	"strings"
	"testing"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
)

func replaced(text, value string) string { return strings.ReplaceAll(text, "VALUE", value) }

// fieldsSet are a field that somebody set, as the object has it and as the managed fields name it.
type fieldsSet struct {
	live, fields string
}

var (
	label = fieldsSet{"metadata: {name: a, namespace: data, labels: {team: x}}", `{"f:metadata":{"f:labels":{"f:team":{}}}}`}
	note  = func(key string) fieldsSet {
		return fieldsSet{"metadata: {name: a, namespace: data, annotations: {" + key + ": x}}", `{"f:metadata":{"f:annotations":{"f:` + key + `":{}}}}`}
	}
	finalizer = func(text string) fieldsSet {
		return fieldsSet{"metadata: {name: a, namespace: data, finalizers: [" + text + "]}", `{"f:metadata":{"f:finalizers":{".":{},"v:\"` + text + `\"":{}}}}`}
	}
	spec = func(live, fields string) fieldsSet {
		return fieldsSet{"metadata: {name: a, namespace: data}\nspec: " + live, `{"f:spec":` + fields + `}`}
	}
)

func TestAdditionsOfOthers(t *testing.T) {
	const settings, deployment = "apiVersion: v1\nkind: ConfigMap\n", "apiVersion: apps/v1\nkind: Deployment\n"
	const lease, queue = "apiVersion: coordination.k8s.io/v1\nkind: Lease\n", "apiVersion: queues.example.com/v1\nkind: Queue\n"
	for name, c := range map[string]struct {
		kind    string
		set     fieldsSet
		manager string
		rules   Rules
		rule    string // the rule that leaves it out; empty: it is reported
	}{
		"a label":                              {kind: settings, set: label},
		"a label, by an ignored manager":       {kind: settings, set: label, manager: "backup", rules: Rules{{Place: "ignore[0]", Managers: []string{"backup"}}}, rule: "ignore[0]"},
		"a label, at an ignored path":          {kind: settings, set: label, rules: Rules{{Place: "ignore[0]", Paths: paths("metadata.labels")}}, rule: "ignore[0]"},
		"a label, ignored for another kind":    {kind: settings, set: label, manager: "backup", rules: Rules{{Kind: "Job", Managers: []string{"backup"}}}},
		"a controller of Kubernetes":           {kind: settings, set: label, manager: "kube-controller-manager", rule: "Kubernetes"},
		"a note of Kubernetes":                 {kind: settings, set: note("pv.kubernetes.io/bound"), rule: "Kubernetes' notes"},
		"a note of another domain":             {kind: settings, set: note("example.com/bound")},
		"a note without a domain":              {kind: settings, set: note("bound")},
		"a leader's note":                      {kind: settings, set: note("control-plane.alpha.kubernetes.io/leader"), rule: "leader election"},
		"the holder of a Lease":                {kind: lease, set: spec("{holderIdentity: x}", `{"f:holderIdentity":{}}`), rule: "leader election"},
		"a label of a Lease":                   {kind: lease, set: label},
		"a restart by kubectl":                 {kind: deployment, set: spec(`{template: {metadata: {annotations: {kubectl.kubernetes.io/restartedAt: x}}}}`, `{"f:template":{"f:metadata":{"f:annotations":{".":{},"f:kubectl.kubernetes.io/restartedAt":{}}}}}`), rule: "rollout restart"},
		"the copy of a service account's name": {kind: deployment, set: spec(`{template: {spec: {serviceAccount: x}}}`, `{"f:template":{"f:spec":{"f:serviceAccount":{}}}}`), rule: "serviceAccount"},
		"an injected certificate":              {kind: queue, set: spec("{caBundle: x}", `{"f:caBundle":{}}`), rule: "caBundle"},
		"a note in the domain of its kind":     {kind: queue, set: note("queues.example.com/seen"), rule: "the kind's controller"},
		"a note below the domain of its kind":  {kind: queue, set: note("x.queues.example.com/seen"), rule: "the kind's controller"},
		"a note in another team's domain":      {kind: queue, set: note("other.com/seen")},
		"a note in the domain of a core kind":  {kind: lease, set: note("coordination.k8s.io/seen")},
		"a controller's finalizer":             {kind: settings, set: finalizer("example.com/clean"), manager: "cleaner", rule: "finalizers"},
		"a person's finalizer":                 {kind: settings, set: finalizer("example.com/clean"), manager: "kubectl-edit"},
		"a person's finalizer for its kind":    {kind: queue, set: finalizer("queues.example.com/clean"), manager: "kubectl-edit", rule: "the kind's controller"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.manager == "" {
				c.manager = "somebody"
			}
			live := owned(t, objectOf(t, c.kind+c.set.live+"\n"), owners{c.manager + " Update": c.set.fields, "syncer": `{"f:data":{}}`})
			git := objectOf(t, c.kind+"metadata: {name: a, namespace: data}\n")
			found, quiet := c.rules.Additions(git, live, v1alpha1.InventoryEntry{Fields: "known"}, func() []byte { return nil })
			if c.rule == "" && (len(found) != 1 || len(quiet) != 0 || found[0].Manager.Name != c.manager) {
				t.Errorf("found %v, quiet %q", found, said(quiet))
			}
			if c.rule != "" && (len(found) != 0 || len(quiet) != 1 || quiet[0].Rule != c.rule || quiet[0].Reason == "") {
				t.Errorf("found %v, quiet %q, want %s", found, said(quiet), c.rule)
			}
		})
	}
}

func TestFieldsThatAreNoAdditions(t *testing.T) {
	const settings = "apiVersion: v1\nkind: ConfigMap\n"
	live := owned(t, objectOf(t, settings+label.live+"\n"), owners{"somebody Update": label.fields})
	plain := objectOf(t, settings+"metadata: {name: a, namespace: data}\n")
	for name, c := range map[string]struct {
		entry v1alpha1.InventoryEntry
		git   string
	}{
		"syncer never applied it": {v1alpha1.InventoryEntry{}, settings + "metadata: {name: a}\n"},
		"it was there before":     {v1alpha1.InventoryEntry{Fields: "known", Others: []string{"metadata.labels"}}, settings + "metadata: {name: a}\n"},
		"git sets it too":         {v1alpha1.InventoryEntry{Fields: "known"}, settings + label.live + "\n"},
	} {
		salted := false
		found, quiet := (Rules{}).Additions(objectOf(t, c.git), live, c.entry, func() []byte { salted = true; return nil })
		if len(found)+len(quiet) > 0 {
			t.Errorf("%s: found %v, quiet %q", name, found, said(quiet))
		}
		if c.entry.Fields == "" && salted {
			t.Errorf("%s: the salt is read", name)
		}
	}
	salted := false
	(Rules{}).Additions(plain, plain, v1alpha1.InventoryEntry{Fields: "known"}, func() []byte { salted = true; return nil })
	if salted {
		t.Error("the salt is read for an object without additions")
	}
}

func TestFieldsThatOthersHadBeforeTheFirstApply(t *testing.T) {
	const settings = "apiVersion: v1\nkind: ConfigMap\n"
	live := owned(t, objectOf(t, settings+"metadata: {name: a, namespace: data, labels: {team: x, new: x}, annotations: {pv.kubernetes.io/bound: x}}\n"),
		owners{"somebody Update": `{"f:metadata":{"f:labels":{"f:team":{},"f:new":{}},"f:annotations":{"f:pv.kubernetes.io/bound":{}}}}`})
	for name, c := range map[string]struct {
		before v1alpha1.InventoryEntry
		want   string
	}{
		"at the first apply":     {v1alpha1.InventoryEntry{}, "metadata.labels.new metadata.labels.team"},
		"at a later apply":       {v1alpha1.InventoryEntry{Fields: "known", Others: []string{"metadata.labels.team", "metadata.labels.gone"}}, "metadata.labels.team"},
		"none is there any more": {v1alpha1.InventoryEntry{Fields: "known", Others: []string{"data"}}, ""},
	} {
		if got := strings.Join(Others(c.before, live), " "); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestManyFieldsOfOthersAreRecordedByTheirPart(t *testing.T) {
	for _, n := range []int{mostOthers, mostOthers + 1} {
		var labels, fields []string
		for i := range n {
			labels, fields = append(labels, fmt.Sprintf("l%d: x", i)), append(fields, fmt.Sprintf(`"f:l%d":{}`, i))
		}
		live := owned(t, objectOf(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: {"+strings.Join(labels, ", ")+"}}\n"),
			owners{"somebody Update": `{"f:metadata":{"f:labels":{` + strings.Join(fields, ",") + `}}}`})
		got := Others(v1alpha1.InventoryEntry{}, live)
		if n == mostOthers && len(got) != n || n > mostOthers && strings.Join(got, " ") != "metadata.labels" {
			t.Errorf("%d fields: %v", n, got)
		}
	}
}
