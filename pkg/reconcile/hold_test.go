package reconcile

import (
	"errors"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/target"
)

func TestSuspendedBy(t *testing.T) {
	yes, no := true, false
	environment := v1alpha1.Environment{Name: "prod"}
	for name, c := range map[string]struct {
		desired target.Desired
		want    string // empty: it is not suspended
	}{
		"nothing":           {target.Desired{Environment: &environment, Settings: v1alpha1.PipelineSettings{Suspend: &no}, Record: &v1alpha1.PipelineSync{}}, ""},
		"the configuration": {target.Desired{Environment: &v1alpha1.Environment{Name: "prod", Suspend: true}}, "environment prod is suspended in the configuration"},
		"pipeline.yaml":     {target.Desired{Environment: &environment, Settings: v1alpha1.PipelineSettings{Suspend: &yes}}, "pipeline.yaml suspends it"},
		"the record": {
			target.Desired{Environment: &environment, Record: &v1alpha1.PipelineSync{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"syncer.dev/reconcile": "disabled"}}}},
			"its record is annotated with syncer.dev/reconcile: disabled",
		},
	} {
		err := suspended(&c.desired)
		wait, waits := errors.AsType[*target.WaitError](err)
		if waits != (c.want != "") || waits && (wait.Reason != "Suspended" || wait.Message != c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
