package health

// inJobMode is a FlinkDeployment that runs one job.
func inJobMode(status string) string { return "spec: {job: {jarURI: x}}\nstatus: " + status }

var flinkFixtures = map[string]fixture{
	"not taken up":      {inJobMode("{}"), InProgress, false, "not taken it up", Idle, false, false, ""},
	"running":           {inJobMode("{jobStatus: {state: RUNNING, jobId: f1}}"), Healthy, false, "", Running, false, false, "f1"},
	"restarting":        {inJobMode("{jobStatus: {state: RESTARTING}, error: lost}"), InProgress, false, "RESTARTING: lost", Running, false, false, ""},
	"suspended":         {inJobMode("{jobStatus: {state: SUSPENDED}}"), Healthy, false, "", Idle, false, false, ""},
	"finished":          {inJobMode("{jobStatus: {state: FINISHED}}"), Healthy, true, "complete", Ended, false, false, ""},
	"failed":            {inJobMode("{error: no slots, jobStatus: {state: FAILED}}"), Failed, true, "no slots", Ended, true, false, ""},
	"session cluster":   {"spec: {}\nstatus: {jobManagerDeploymentStatus: READY}", Healthy, false, "", NotARun, false, false, ""},
	"session not ready": {"spec: {}\nstatus: {error: no image}", InProgress, false, "no image", NotARun, false, false, ""},
}
