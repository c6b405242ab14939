package health

var rayFixtures = map[string]fixture{
	"not taken up":            {"", InProgress, false, "not taken it up", Idle, false, false, ""},
	"waiting for its cluster": {"status: {jobDeploymentStatus: Initializing}", InProgress, false, "Initializing", Idle, false, false, ""},
	"running":                 {"status: {jobDeploymentStatus: Running, jobStatus: RUNNING, jobId: r1}", Healthy, false, "", Running, false, false, "r1"},
	"suspending":              {"status: {jobDeploymentStatus: Suspending, startTime: then}", Healthy, false, "", Running, false, false, "then"},
	"suspended":               {"status: {jobDeploymentStatus: Suspended}", Healthy, false, "", Idle, false, false, ""},
	"complete":                {"status: {jobDeploymentStatus: Complete, jobStatus: SUCCEEDED}", Healthy, true, "", Ended, false, false, ""},
	"failed":                  {"status: {jobDeploymentStatus: Complete, jobStatus: FAILED, message: exit 1}", Failed, true, "exit 1", Ended, true, false, ""},
	"stopped":                 {"status: {jobDeploymentStatus: Complete, jobStatus: STOPPED}", Failed, true, "stopped", Ended, true, false, ""},
	"failed to start":         {"status: {jobDeploymentStatus: Failed, reason: DeadlineExceeded}", Failed, true, "DeadlineExceeded", Ended, true, false, ""},
	"refused":                 {"status: {jobDeploymentStatus: ValidationFailed, message: no entrypoint}", Failed, true, "no entrypoint", Ended, true, false, ""},
}
