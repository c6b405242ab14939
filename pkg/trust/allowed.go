package trust

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// sshSigner is one line of an allowed signers file.
type sshSigner struct {
	principals string // patterns
	key        ssh.PublicKey
	authority  bool   // the key signs certificates, and no commits
	namespaces string // patterns; empty: every namespace
	from, to   time.Time
}

// parseAllowedSigners reads a file in the format of ssh-keygen(1), ALLOWED SIGNERS.
func parseAllowedSigners(text []byte) ([]sshSigner, error) {
	var out []sshSigner
	for number, line := range lines(text) {
		signer, err := parseSigner(line)
		if err != nil {
			return nil, fmt.Errorf("allowed signers, line %d: %w", number, err)
		}
		out = append(out, signer)
	}
	return out, nil
}

// lines yields the lines that are not empty and no comments, with their numbers.
func lines(text []byte) func(func(int, string) bool) {
	return func(yield func(int, string) bool) {
		number := 0
		for line := range bytes.Lines(text) {
			number++
			trimmed := strings.TrimSpace(string(line))
			if trimmed != "" && trimmed[0] != '#' && !yield(number, trimmed) {
				return
			}
		}
	}
}

func parseSigner(line string) (s sshSigner, err error) {
	principals, rest, err := cutPrincipals(line)
	if err != nil {
		return s, err
	}
	key, _, options, _, err := ssh.ParseAuthorizedKey([]byte(rest))
	if err != nil {
		return s, fmt.Errorf("reading the key of %s (a line is PRINCIPALS [OPTIONS] KEYTYPE KEY): %w", principals, err)
	}
	if _, isCertificate := key.(*ssh.Certificate); isCertificate {
		return s, fmt.Errorf("%s has a certificate; give the key of its authority with the option cert-authority", principals)
	}
	s = sshSigner{principals: principals, key: key}
	seen := map[string]bool{}
	for _, option := range options {
		name, value, _ := strings.Cut(option, "=")
		name = strings.ToLower(name)
		if seen[name] {
			return s, fmt.Errorf("the option %s of %s stands there twice", name, principals)
		}
		seen[name] = true
		if err := s.option(name, strings.Trim(value, `"`)); err != nil {
			return s, fmt.Errorf("%s: %w", principals, err)
		}
	}
	if !s.from.IsZero() && !s.to.IsZero() && !s.from.Before(s.to) {
		return s, fmt.Errorf("%s is valid after %s and before %s, which is never", principals, day(s.from), day(s.to))
	}
	return s, nil
}

// cutPrincipals splits a line at the end of its principals, which may be quoted.
func cutPrincipals(line string) (principals, rest string, err error) {
	if quoted, ok := strings.CutPrefix(line, `"`); ok {
		principals, rest, ok = strings.Cut(quoted, `"`)
		if !ok {
			return "", "", errors.New("a quote is not closed")
		}
	} else if end := strings.IndexAny(line, " \t"); end >= 0 {
		principals, rest = line[:end], line[end:]
	} else {
		principals = line
	}
	if principals == "" {
		return "", "", errors.New("it names no principal, such as ann@example.com")
	}
	return principals, strings.TrimSpace(rest), nil
}

func (s *sshSigner) option(name, value string) (err error) {
	switch name {
	case "cert-authority":
		s.authority = true
	case "namespaces":
		if s.namespaces = value; value == "" {
			return errors.New("namespaces is empty; git signs in the namespace git")
		}
	case "valid-after":
		s.from, err = parseDate(value)
	case "valid-before":
		s.to, err = parseDate(value)
	default:
		return fmt.Errorf("there is no option %q; use cert-authority, namespaces, valid-after and valid-before", name)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// parseDate reads YYYYMMDD, YYYYMMDDHHMM and YYYYMMDDHHMMSS, with or without Z. ssh-keygen reads a date without Z in the zone of
// the machine; here it is UTC, so that all machines agree.
func parseDate(text string) (time.Time, error) {
	bare := strings.TrimSuffix(text, "Z")
	for _, layout := range []string{"20060102", "200601021504", "20060102150405"} {
		if len(bare) == len(layout) {
			if t, err := time.Parse(layout, bare); err == nil {
				return t, nil
			}
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a date; write 20271231, 202712312359 or 20271231235959, in UTC", text)
}

// parseRevoked reads public keys, one a line.
func parseRevoked(text []byte) (map[string]bool, error) {
	out := map[string]bool{}
	for number, line := range lines(text) {
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
		if err != nil {
			return nil, fmt.Errorf("revoked keys, line %d: %w", number, err)
		}
		out[string(key.Marshal())] = true
	}
	return out, nil
}

// matchesList reports whether a text matches a list of patterns, with * and ?, as in ssh_config(5): a pattern with ! before it
// excludes.
func matchesList(patterns, text string) bool {
	found := false
	for pattern := range strings.SplitSeq(patterns, ",") {
		negated := strings.HasPrefix(pattern, "!")
		if !matches(strings.TrimPrefix(pattern, "!"), text) {
			continue
		}
		if negated {
			return false
		}
		found = true
	}
	return found
}

func matches(pattern, text string) bool {
	at, star, retry := 0, -1, 0 // star: the last * of the pattern; retry: where its text may end
	i := 0
	for i < len(text) {
		switch {
		case at < len(pattern) && pattern[at] == '*':
			star, retry = at, i
			at++
		case at < len(pattern) && (pattern[at] == '?' || pattern[at] == text[i]):
			at, i = at+1, i+1
		case star >= 0:
			retry++
			at, i = star+1, retry
		default:
			return false
		}
	}
	return strings.Trim(pattern[at:], "*") == ""
}
