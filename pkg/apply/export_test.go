package apply

// Connected makes a Cluster of a client configuration, whose transport a test may have wrapped.
var Connected = connect

// SetID is the ID of a target's ApplySet.
var SetID = setID

// HashOf is the hash that a plan gives an object of its set.
func HashOf(plan *Plan, name string) string {
	for key, hash := range plan.hashes {
		if key.Name == name {
			return hash
		}
	}
	return ""
}
