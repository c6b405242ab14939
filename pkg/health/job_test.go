package health

var jobFixtures = map[string]fixture{
	"new":                   {"", InProgress, false, "not started a pod", Idle, false, true, ""},
	"suspended from birth":  {"spec: {suspend: true}", InProgress, false, "", Idle, false, false, ""},
	"no pod wanted":         {"spec: {parallelism: 0}", InProgress, false, "", Idle, false, false, ""},
	"refused by a quota":    {"status: {startTime: now}", InProgress, false, "", Idle, false, true, "now"},
	"running":               {"status: {startTime: now, active: 1, ready: 1}", Healthy, false, "running", Running, false, false, "now"},
	"between retries":       {"status: {startTime: now, failed: 1}", InProgress, false, "", Running, false, false, "now"},
	"pods that end":         {"status: {terminating: 1}", InProgress, false, "", Running, false, false, ""},
	"pods not counted yet":  {"status: {uncountedTerminatedPods: {succeeded: [a]}}", InProgress, false, "", Running, false, false, ""},
	"about to be complete":  {"status: {conditions: [{type: SuccessCriteriaMet, status: \"True\"}]}", InProgress, false, "", Running, false, false, ""},
	"about to have failed":  {"status: {conditions: [{type: FailureTarget, status: \"True\"}]}", InProgress, false, "", Running, false, false, ""},
	"suspended":             {"status: {failed: 1, conditions: [{type: Suspended, status: \"True\"}]}", Healthy, false, "suspended", Idle, false, false, ""},
	"suspending":            {"status: {terminating: 1, conditions: [{type: Suspended, status: \"True\"}]}", Healthy, false, "suspended", Running, false, false, ""},
	"resumed":               {"status: {active: 1, conditions: [{type: Suspended, status: \"False\"}]}", Healthy, false, "running", Running, false, false, ""},
	"complete":              {"status: {succeeded: 1, conditions: [{type: SuccessCriteriaMet, status: \"True\"}, {type: Complete, status: \"True\"}]}", Healthy, true, "complete", Ended, false, false, ""},
	"failed":                {"status: {failed: 7, conditions: [{type: FailureTarget, status: \"True\"}, {type: Failed, status: \"True\", reason: BackoffLimitExceeded, message: too often}]}", Failed, true, "too often", Ended, true, false, ""},
	"failed, only a reason": {"status: {conditions: [{type: Failed, status: \"True\", reason: DeadlineExceeded}]}", Failed, true, "DeadlineExceeded", Ended, true, false, ""},
}

var cronJobFixtures = map[string]fixture{
	"accepted":   {fields: "spec: {schedule: \"@daily\"}", health: Healthy, message: "active"},
	"with a run": {fields: "status: {active: [{name: x}]}", health: Healthy},
	"suspended":  {fields: "spec: {suspend: true}", health: Healthy, message: "suspended"},
}
