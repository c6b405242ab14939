package health

// inState is a SparkApplication in a state of the Spark operator.
func inState(state string) string {
	return "status: {submissionID: one, applicationState: {state: " + state + ", errorMessage: boom}}"
}

var sparkFixtures = map[string]fixture{
	"not taken up":            {"", InProgress, false, "operator has not taken it up", Idle, false, false, ""},
	"submitted":               {inState("SUBMITTED"), InProgress, false, "", Running, false, false, "one"},
	"running":                 {inState("RUNNING"), Healthy, false, "", Running, false, false, "one"},
	"succeeding":              {inState("SUCCEEDING"), Healthy, false, "", Running, false, false, "one"},
	"failing":                 {inState("FAILING"), InProgress, false, "FAILING: boom", Idle, false, false, "one"},
	"submission failed":       {inState("SUBMISSION_FAILED"), InProgress, false, "boom", Idle, false, false, "one"},
	"pending rerun":           {inState("PENDING_RERUN"), InProgress, false, "", Idle, false, false, "one"},
	"invalidating":            {inState("INVALIDATING"), InProgress, false, "", Idle, false, false, "one"},
	"unknown to the operator": {inState("UNKNOWN"), InProgress, false, "", Running, false, false, "one"},
	"suspended":               {inState("SUSPENDED"), Healthy, false, "", Idle, false, false, "one"},
	"suspending":              {inState("SUSPENDING"), Healthy, false, "", Running, false, false, "one"},
	"resuming":                {inState("RESUMING"), Healthy, false, "", Running, false, false, "one"},
	"completed":               {inState("COMPLETED"), Healthy, true, "complete", Ended, false, false, "one"},
	"failed":                  {inState("FAILED"), Failed, true, "failed: boom", Ended, true, false, "one"},
	"without a submission ID": {"status: {lastSubmissionAttemptTime: then, applicationState: {state: RUNNING}}", Healthy, false, "", Running, false, false, "then"},
}

var scheduledSparkFixtures = map[string]fixture{
	"not taken up": {fields: "", health: InProgress, message: "not taken it up"},
	"scheduled":    {fields: "status: {scheduleState: Scheduled}", health: Healthy},
	"validating":   {fields: "status: {scheduleState: Validating}", health: Healthy},
	"refused":      {fields: "status: {scheduleState: FailedValidation, reason: bad cron}", health: Failed, message: "bad cron"},
	"suspended":    {fields: "spec: {suspend: true}", health: Healthy, message: "suspended"},
}
