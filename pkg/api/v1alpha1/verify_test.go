package v1alpha1

import "testing"

func TestVerifyOfAnEnvironment(t *testing.T) {
	shared := &Verify{Mode: VerifyEachCommit, KeyringFile: "shared"}
	for name, c := range map[string]struct {
		source, own *Verify
		want        Verify
		demanded    bool
	}{
		"nothing is demanded":                      {want: Verify{Mode: VerifyNone}},
		"the environment has none of its own":      {source: shared, want: *shared, demanded: true},
		"Head is the default":                      {source: &Verify{KeyringFile: "shared"}, want: Verify{Mode: VerifyHead, KeyringFile: "shared"}, demanded: true},
		"the environment demands nothing":          {source: shared, own: &Verify{Mode: VerifyNone}, want: Verify{Mode: VerifyNone, KeyringFile: "shared"}},
		"another mode with the same keys":          {source: shared, own: &Verify{Mode: VerifyHead}, want: Verify{Mode: VerifyHead, KeyringFile: "shared"}, demanded: true},
		"other keys in the same mode":              {source: shared, own: &Verify{AllowedSigners: "own"}, want: Verify{Mode: VerifyEachCommit, AllowedSigners: "own"}, demanded: true},
		"other keys without those revoked above":   {source: &Verify{KeyringFile: "shared", RevokedKeys: "old"}, own: &Verify{AllowedSigners: "own"}, want: Verify{Mode: VerifyHead, AllowedSigners: "own"}, demanded: true},
		"only this environment demands signatures": {own: &Verify{AllowedSigners: "own"}, want: Verify{Mode: VerifyHead, AllowedSigners: "own"}, demanded: true},
	} {
		config := &Config{Source: Source{Verify: c.source}}
		got, demanded := config.VerifyOf(&Environment{Verify: c.own})
		if got != c.want || demanded != c.demanded {
			t.Errorf("%s: %+v, %v; want %+v, %v", name, got, demanded, c.want, c.demanded)
		}
	}
}
