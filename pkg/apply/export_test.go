package apply

// HashOf returns the hash that a plan gives an object of its set.
func HashOf(plan *Plan, name string) string {
	for key, hash := range plan.hashes {
		if key.Name == name {
			return hash
		}
	}
	return ""
}
