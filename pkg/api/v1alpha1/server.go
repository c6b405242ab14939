package v1alpha1

import (
	"net"
	"strconv"
	"strings"
)

// Server names the addresses of a daemon's HTTP server, and the files with its certificate and secrets. All files are
// read again when they change, so that they can be rotated.
type Server struct {
	// Listen is HOST:PORT; without a host, every address of the machine. Default: 127.0.0.1:8080.
	Listen string `yaml:"listen"`
	// WebhookSecretFile holds the secret with which a git forge signs its webhooks. Without it every webhook is refused.
	WebhookSecretFile string `yaml:"webhookSecretFile"`
	// TLSCertFile and TLSKeyFile are PEM files; without them it is plain HTTP.
	TLSCertFile string `yaml:"tlsCertFile"`
	TLSKeyFile  string `yaml:"tlsKeyFile"`
	// AuditTokenFile holds the bearer token with which an API server posts its audit log.
	AuditTokenFile string `yaml:"auditTokenFile"`
}

// DefaultListen is where a daemon listens unless its server says otherwise.
const DefaultListen = "127.0.0.1:8080"

func (s *Server) setDefaults() {
	if s != nil && s.Listen == "" {
		s.Listen = DefaultListen
	}
}

func (s *Server) validate(p *problems) {
	if s == nil {
		return
	}
	if host, port, err := net.SplitHostPort(s.Listen); err != nil || strings.ContainsAny(host, "/@ ") || !validPort(port) {
		p.add("server.listen", "%q is not an address (write 127.0.0.1:8080, or :8080 for every address)", s.Listen)
	}
	if (s.TLSCertFile == "") != (s.TLSKeyFile == "") {
		p.add("server.tlsCertFile", "tlsCertFile and tlsKeyFile go together")
	}
}

func validPort(port string) bool {
	_, err := strconv.ParseUint(port, 10, 16)
	return err == nil
}
