package health

import "testing"

func TestRunOfAPod(t *testing.T) {
	const pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, uid: u1}\n"
	for name, c := range map[string]struct {
		object            string
		runs, ends, ended bool
	}{
		"running":        {pod + "spec: {restartPolicy: Never}\nstatus: {phase: Running}", true, true, false},
		"pending":        {pod + "spec: {restartPolicy: Never}\nstatus: {phase: Pending}", false, true, false},
		"of a service":   {pod + "spec: {restartPolicy: Always}\nstatus: {phase: Running}", false, false, false},
		"succeeded":      {pod + "spec: {restartPolicy: Never}\nstatus: {phase: Succeeded}", false, false, true},
		"failed":         {pod + "spec: {restartPolicy: OnFailure}\nstatus: {phase: Failed}", false, false, true},
		"being deleted":  {"apiVersion: v1\nkind: Pod\nmetadata: {deletionTimestamp: \"2030-01-02T03:04:05Z\"}\nstatus: {phase: Running}", false, false, false},
		"of other kinds": {"apiVersion: v1\nkind: Node\nstatus: {phase: Running}", false, true, false},
	} {
		obj := object(t, c.object)
		if run := PodRun(obj); (run.State == Running) != c.runs || c.runs && run.ID != "u1" {
			t.Errorf("%s: %+v", name, run)
		}
		if PodRunsToEnd(obj) != c.ends || PodEnded(obj) != c.ended {
			t.Errorf("%s: runs to its end %t, ended %t", name, PodRunsToEnd(obj), PodEnded(obj))
		}
		if run := (*Judge)(nil).Run(obj); run != (Run{}) {
			t.Errorf("%s: a pod counts as a run: %+v", name, run)
		}
	}
}
