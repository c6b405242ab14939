package standin

import (
	"encoding/json"
	"net/http"
)

// status is the answer to a request that failed.
type status struct {
	code            int
	reason, message string
	at              place
}

func failure(code int, reason, message string) *status {
	return &status{code: code, reason: reason, message: message}
}

// about names the object.
func (s *status) about(p place) *status {
	s.at = p
	return s
}

// answer writes a failure.
func answer(w http.ResponseWriter, s *status) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(s.code)
	_ = json.NewEncoder(w).Encode(s.object()) // the client has gone
}

func (s *status) object() Object {
	return Object{
		"kind": "Status", "apiVersion": "v1", "metadata": Object{}, "status": "Failure", "code": s.code, "reason": s.reason, "message": s.message,
		"details": Object{"name": s.at.object, "group": s.at.group, "kind": s.at.name},
	}
}
