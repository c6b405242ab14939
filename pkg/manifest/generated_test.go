package manifest

import "testing"

func TestWithoutSuffix(t *testing.T) {
	for _, c := range []struct{ kind, name, want string }{
		{"ConfigMap", "settings-5k4md27bh9", "settings"},
		{"Secret", "login-tt42c6hfbm", "login"},
		{"ConfigMap", "settings", ""},
		{"ConfigMap", "settings-production", ""}, // a word has vowels
		{"Deployment", "web-5k4md27bh9", ""},     // no generator makes one
	} {
		id, generated := ID{Kind: c.kind, Namespace: "etl", Name: c.name}.WithoutSuffix()
		if generated != (c.want != "") || generated && id != (ID{Kind: c.kind, Namespace: "etl", Name: c.want}) {
			t.Errorf("%s/%s is %v %t, want %q", c.kind, c.name, id, generated, c.want)
		}
	}
}
