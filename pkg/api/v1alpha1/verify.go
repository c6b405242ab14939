package v1alpha1

import "fmt"

// Verify demands signatures of commits. Keys are given here, or in files that are read again for each commit and at each poll,
// so that they can be rotated.
type Verify struct {
	// Mode is Head, EachCommit or None. Default: Head; in an environment, that of source.verify.
	Mode VerifyMode `yaml:"mode"`
	// AllowedSigners has lines in the format of ssh-keygen(1), ALLOWED SIGNERS.
	AllowedSigners     string `yaml:"allowedSigners"`
	AllowedSignersFile string `yaml:"allowedSignersFile"`
	// Keyring has armored public keys of PGP.
	Keyring     string `yaml:"keyring"`
	KeyringFile string `yaml:"keyringFile"`
	// RevokedKeys has public keys of SSH that may not sign, one a line.
	RevokedKeys     string `yaml:"revokedKeys"`
	RevokedKeysFile string `yaml:"revokedKeysFile"`
}

// VerifyMode says which commits must be signed.
type VerifyMode string

const (
	// VerifyNone demands no signature.
	VerifyNone VerifyMode = "None"
	// VerifyHead demands a signature of the commit that is deployed.
	VerifyHead VerifyMode = "Head"
	// VerifyEachCommit demands one of every commit since the last one that was verified.
	VerifyEachCommit VerifyMode = "EachCommit"
)

// hasKeys reports whether it names keys that may sign.
func (v *Verify) hasKeys() bool {
	return v.AllowedSigners+v.AllowedSignersFile+v.Keyring+v.KeyringFile != ""
}

// VerifyOf returns what an environment demands of commits; false: nothing. Its own keys take the place of those of source.verify.
func (c *Config) VerifyOf(environment *Environment) (Verify, bool) {
	var out Verify
	if c.Source.Verify != nil {
		out = *c.Source.Verify
	}
	if own := environment.Verify; own != nil {
		mode := out.Mode
		if own.hasKeys() {
			out = *own
		}
		if out.Mode = own.Mode; out.Mode == "" {
			out.Mode = mode
		}
	} else if c.Source.Verify == nil {
		out.Mode = VerifyNone
	}
	if out.Mode == "" {
		out.Mode = VerifyHead
	}
	return out, out.Mode != VerifyNone
}

// validateVerify checks source.verify and that of each environment.
func (c *Config) validateVerify(p *problems) {
	c.Source.Verify.validate(p, "source.verify")
	for i := range c.Environments {
		environment := &c.Environments[i]
		at := fmt.Sprintf("environments[%d].verify", i)
		environment.Verify.validate(p, at)
		if demanded, any := c.VerifyOf(environment); any && environment.Verify != nil && !demanded.hasKeys() {
			p.add(at, "no key may sign; give allowedSignersFile or keyringFile here or in source.verify")
		}
	}
	if v := c.Source.Verify; v != nil && v.Mode != VerifyNone && !v.hasKeys() {
		p.add("source.verify", "no key may sign; give allowedSignersFile or keyringFile")
	}
}

func (v *Verify) validate(p *problems, at string) {
	if v == nil {
		return
	}
	switch v.Mode {
	case "", VerifyNone, VerifyHead, VerifyEachCommit:
	default:
		p.add(at+".mode", "%q is not a mode; use Head, EachCommit or None", v.Mode)
	}
	for _, pair := range []struct{ key, text, file string }{
		{"allowedSigners", v.AllowedSigners, v.AllowedSignersFile}, {"keyring", v.Keyring, v.KeyringFile}, {"revokedKeys", v.RevokedKeys, v.RevokedKeysFile},
	} {
		if pair.text != "" && pair.file != "" {
			p.add(at+"."+pair.key+"File", "%s and %sFile exclude each other; keep one", pair.key, pair.key)
		}
	}
	if v.RevokedKeys+v.RevokedKeysFile != "" && !v.hasKeys() {
		p.add(at+".revokedKeys", "it is about the keys of this verify; give allowedSignersFile or keyringFile beside it")
	}
}
