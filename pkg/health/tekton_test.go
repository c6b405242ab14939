package health

var tektonFixtures = map[string]fixture{
	"not taken up": {"", InProgress, false, "not taken it up", Idle, false, false, ""},
	"not started":  {"status: {conditions: [{type: Succeeded, status: Unknown, reason: Pending}]}", InProgress, false, "Pending", Idle, false, false, ""},
	"running":      {"status: {startTime: t, conditions: [{type: Succeeded, status: Unknown}]}", Healthy, false, "", Running, false, false, "t"},
	"succeeded":    {"status: {startTime: t, conditions: [{type: Succeeded, status: \"True\"}]}", Healthy, true, "", Ended, false, false, "t"},
	"failed":       {"status: {startTime: t, conditions: [{type: Succeeded, status: \"False\", message: task build failed}]}", Failed, true, "task build failed", Ended, true, false, "t"},
}
