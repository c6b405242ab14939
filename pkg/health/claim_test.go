package health

var claimFixtures = map[string]fixture{
	"waiting for its first pod": {fields: "status: {phase: Pending}", health: Healthy, message: "first pod"},
	"bound":                     {fields: "status: {phase: Bound}", health: Healthy},
	"lost":                      {fields: "status: {phase: Lost}", health: Failed},
}
