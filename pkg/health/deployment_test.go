package health

import "testing"

const (
	twoReplicas = "metadata: {generation: 2}\nspec: {replicas: 2}\n"
	available   = twoReplicas + "status: {observedGeneration: 2, replicas: 2, updatedReplicas: 2, readyReplicas: 2, availableReplicas: 2, conditions: [{type: Available, status: \"True\"}, {type: Progressing, status: \"True\", reason: NewReplicaSetAvailable}]}"
	refused     = twoReplicas + "status: {observedGeneration: 2, conditions: [{type: ReplicaFailure, status: \"True\", reason: FailedCreate, message: \"exceeded quota: team\"}, {type: Progressing, status: \"True\"}]}"
)

var deploymentFixtures = map[string]fixture{
	"not observed": {fields: twoReplicas + "status: {observedGeneration: 1}", health: InProgress},
	"rolling out":  {fields: twoReplicas + "status: {observedGeneration: 2, replicas: 2, updatedReplicas: 1}", health: InProgress},
	"available":    {fields: available, health: Healthy},
	"stuck":        {fields: twoReplicas + "status: {observedGeneration: 2, replicas: 2, conditions: [{type: Progressing, status: \"False\", reason: ProgressDeadlineExceeded}]}", health: Failed},
	"quota":        {fields: refused, health: Failed, message: "exceeded quota: team"},
}

var replicaSetFixtures = map[string]fixture{
	"ready": {fields: twoReplicas + "status: {observedGeneration: 2, replicas: 2, readyReplicas: 2, availableReplicas: 2, fullyLabeledReplicas: 2}", health: Healthy},
	"quota": {fields: refused, health: Failed, message: "exceeded quota: team"},
}

func TestRolledOut(t *testing.T) {
	const (
		web = "apiVersion: apps/v1\nkind: Deployment\n"
		set = "apiVersion: apps/v1\nkind: StatefulSet\n"
	)
	for name, c := range map[string]struct {
		object string
		want   bool
	}{
		"available":                      {web + available, true},
		"new":                            {web + twoReplicas, false},
		"of one revision":                {set + ready("a", "a"), true},
		"with a partition":               {set + ready("a", "b"), false},
		"with pods replaced by a person": {set + "spec: {updateStrategy: {type: OnDelete}}\n" + ready("a", "b"), true},
	} {
		if got := RolledOut(object(t, c.object)); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestHasReplicas(t *testing.T) {
	for fields, want := range map[string]bool{
		"spec: {}":            true, // the default is one
		"spec: {replicas: 1}": true,
		"spec: {replicas: 0}": false,
		"spec: {replicas: 0}\nstatus: {replicas: 1}": true,
	} {
		if got := HasReplicas(object(t, "apiVersion: apps/v1\nkind: ReplicaSet\n"+fields)); got != want {
			t.Errorf("%s: %t", fields, got)
		}
	}
}
