package audit

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Object is what an audit event names: a resource in the plural, such as deployments.
type Object struct{ Group, Resource, Namespace, Name string }

// Client is by what an object's managed fields know who wrote it.
type Client struct{ Manager, Operation, Subresource string }

// Write is one request that changed an object.
type Write struct {
	Time, End time.Time // when it was received, and when it was answered
	// User is who the write was made as; with impersonation, for whom it was made.
	User string
	// By is who impersonated the user; "" where nobody did.
	By   string
	Verb string
	Client
	// Created tells that the object was not there before.
	Created bool
}

// Who says who made a write. Whoever may impersonate others is behind what they seem to do, so both are named.
func (w Write) Who() string {
	if w.By == "" {
		return w.User
	}
	return w.User + ", impersonated by " + w.By
}

// by reports whether the managed fields of a client may be from a write.
func (w Write) by(c Client) bool {
	return w.Manager == c.Manager && w.Subresource == c.Subresource && !w.deletes() && (w.Operation == "" || w.Operation == c.Operation)
}

// applies reports whether a write is a manager's forced apply: what it sets is as it says afterwards.
func (w Write) applies(manager string) bool {
	return w.Client == Client{Manager: manager, Operation: "Apply"}
}

func (w Write) deletes() bool { return w.Verb == "delete" || w.Verb == "deletecollection" }

// alike reports whether two writes differ in nothing but their time.
func (w Write) alike(other Write) bool {
	w.Time, w.End = other.Time, other.End
	return w == other
}

// event is what is used of an audit.k8s.io/v1 Event.
type event struct {
	Stage      string `json:"stage"`
	Verb       string `json:"verb"`
	RequestURI string `json:"requestURI"`
	UserAgent  string `json:"userAgent"`
	User       struct {
		Username string `json:"username"`
	} `json:"user"`
	Impersonated *struct {
		Username string `json:"username"`
	} `json:"impersonatedUser"`
	Object *struct {
		Group       string `json:"apiGroup"`
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
		Namespace   string `json:"namespace"`
		Name        string `json:"name"`
	} `json:"objectRef"`
	Response *struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
	Request  json.RawMessage `json:"requestObject"` // from level Request on
	Received time.Time       `json:"requestReceivedTimestamp"`
	Reached  time.Time       `json:"stageTimestamp"`
}

// aside are the subresources that leave the object's own fields alone. The status is written so often that the writes
// that matter would be forgotten for it.
var aside = []string{"status", "proxy", "exec", "attach", "portforward", "token", "log"}

// parse reads an event. Most are no writes, which is no error.
func parse(text []byte) (object Object, w Write, ok bool, err error) {
	var e event
	if err := json.Unmarshal(text, &e); err != nil {
		return Object{}, Write{}, false, err
	}
	if e.Object == nil || e.Response == nil || e.Stage != "ResponseComplete" && e.Stage != "Panic" {
		return Object{}, Write{}, false, nil
	}
	// A server's error, a timeout above all, may come after the write was made.
	done, perhaps := e.Response.Code < 300, e.Response.Code >= 500
	named := e.Object.Name != "" && slices.Contains([]string{"create", "update", "patch", "delete"}, e.Verb)
	if !named && e.Verb != "deletecollection" || !done && !perhaps || slices.Contains(aside, e.Object.Subresource) {
		return Object{}, Write{}, false, nil
	}
	address, err := url.ParseRequestURI(e.RequestURI)
	if err != nil || address.Query().Has("dryRun") {
		return Object{}, Write{}, false, nil
	}
	query := address.Query()
	w = Write{
		Time: e.Received, End: e.Reached, User: e.User.Username, Verb: e.Verb, Created: e.Response.Code == 201 && e.Object.Subresource == "",
		Client: Client{Manager: query.Get("fieldManager"), Subresource: e.Object.Subresource},
	}
	if w.End.Before(w.Time) {
		w.End = w.Time
	}
	if e.Impersonated != nil {
		w.User, w.By = e.Impersonated.Username, e.User.Username
	}
	switch {
	case w.deletes() && (w.Subresource != "" || dryRun(e.Request)):
		return Object{}, Write{}, false, nil
	case w.Subresource == "eviction":
		w.Verb, w.Subresource, w.Created = "delete", "", false // a Pod is deleted by it
	case perhaps:
		// What may not have happened puts nothing right, and so is no apply for certain.
	case e.Verb != "patch" || w.Manager == "":
		w.Operation = "Update" // an apply is a patch, and has to name its manager
	case query.Has("force") || w.Created:
		w.Operation = "Apply" // other patches may not say force, and make no object
	}
	if w.Manager == "" {
		w.Manager = defaultManager(e.UserAgent)
	}
	object = Object{e.Object.Group, e.Object.Resource, e.Object.Namespace, e.Object.Name}
	if object.Group == "" && object.Resource == "namespaces" {
		object.Namespace = "" // a request to a Namespace seems to be within it, unless it creates it
	}
	return object, w, true, nil
}

// dryRun reads the options of a delete: they may stand in its body and not in its address.
func dryRun(body json.RawMessage) bool {
	var options struct {
		DryRun []string `json:"dryRun"`
	}
	return json.Unmarshal(body, &options) == nil && len(options.DryRun) > 0 // no body at all below level Request
}

// defaultManager is the field manager of a client that names none, as the API server derives it.
func defaultManager(agent string) string {
	const most = 128 // bytes
	var manager strings.Builder
	name, _, _ := strings.Cut(agent, "/")
	for _, r := range name {
		if !unicode.IsPrint(r) {
			continue
		}
		if manager.Len()+utf8.RuneLen(r) > most {
			break
		}
		manager.WriteRune(r)
	}
	if manager.Len() == 0 {
		return "unknown"
	}
	return manager.String()
}
