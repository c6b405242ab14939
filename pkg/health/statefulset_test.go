package health

// ready is the status of a StatefulSet whose pods are ready.
func ready(current, update string) string {
	return "status: {replicas: 1, readyReplicas: 1, currentReplicas: 1, updatedReplicas: 1, currentRevision: " + current + ", updateRevision: " + update + "}"
}

var statefulSetFixtures = map[string]fixture{
	"new":   {fields: "spec: {replicas: 1}", health: InProgress},
	"ready": {fields: "spec: {replicas: 1}\n" + ready("a", "a"), health: Healthy},
}
