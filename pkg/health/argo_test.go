package health

var workflowFixtures = map[string]fixture{
	"not taken up": {"", InProgress, false, "not taken it up", Idle, false, false, ""},
	"pending":      {"status: {phase: Pending, message: no quota}", InProgress, false, "no quota", Idle, false, false, ""},
	"running":      {"status: {phase: Running, startedAt: then}", Healthy, false, "", Running, false, false, "then"},
	"failed":       {"status: {phase: Failed}", Failed, true, "", Ended, true, false, ""},
	"in error":     {"status: {phase: Error, message: no pod, startedAt: then}", Failed, true, "no pod", Ended, true, false, "then"},
	"succeeded":    {"status: {phase: Succeeded, startedAt: then}", Healthy, true, "", Ended, false, false, "then"},
}

var cronWorkflowFixtures = map[string]fixture{
	"accepted":  {fields: "status: {phase: Active}", health: Healthy, message: "active"},
	"suspended": {fields: "spec: {suspend: true}", health: Healthy, message: "suspended"},
	"refused":   {fields: "status: {conditions: [{type: SpecError, status: \"True\", message: bad cron}]}", health: Failed, message: "bad cron"},
}
