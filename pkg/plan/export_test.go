package plan

// HashOf returns the hash that a plan gives an object of its set.
func HashOf(p *Plan, name string) string {
	for _, s := range p.Steps() {
		if s.Change.ID.Name == name {
			return s.Hash
		}
	}
	return ""
}
