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

// Object names an object as an audit event does: by its resource in the plural, such as deployments.
type Object struct{ Group, Resource, Namespace, Name string }

// Client identifies a writer in the managed fields of an object.
type Client struct{ Manager, Operation, Subresource string }

// Write is one request that changed an object.
type Write struct {
	Time, End time.Time // when the API server received it, and when it answered
	// User is the user of the request; with impersonation, the impersonated one.
	User string
	// By is the user who impersonated User; "" without impersonation.
	By   string
	Verb string
	Client
	// Created says that the write created the object.
	Created bool
}

// Who names the user of a write, and the user who impersonated that one.
func (w Write) Who() string {
	if w.By == "" {
		return w.User
	}
	return w.User + ", impersonated by " + w.By
}

// by reports whether a write may have made the entry of a client in the managed fields.
func (w Write) by(c Client) bool {
	return w.Manager == c.Manager && w.Subresource == c.Subresource && !w.deletes() && (w.Operation == "" || w.Operation == c.Operation)
}

// applies reports whether a write is a forced apply by a manager: afterwards its fields have the values of the apply.
func (w Write) applies(manager string) bool {
	return w.Client == Client{Manager: manager, Operation: "Apply"}
}

func (w Write) deletes() bool { return w.Verb == "delete" || w.Verb == "deletecollection" }

// alike reports whether two writes differ in their time only.
func (w Write) alike(other Write) bool {
	w.Time, w.End = other.Time, other.End
	return w == other
}

// event has the used fields of an audit.k8s.io/v1 Event.
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

// aside lists the subresources that do not change the object's own fields. Controllers write the status so often that
// these writes would displace all others.
var aside = []string{"status", "proxy", "exec", "attach", "portforward", "token", "log"}

// parse reads an event. ok is false for an event that is no write, as most are.
func parse(text []byte) (object Object, w Write, ok bool, err error) {
	var e event
	if err := json.Unmarshal(text, &e); err != nil {
		return Object{}, Write{}, false, err
	}
	if e.Object == nil || e.Response == nil || e.Stage != "ResponseComplete" && e.Stage != "Panic" {
		return Object{}, Write{}, false, nil
	}
	// After an error of the server, such as a timeout, the write may have been made.
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
		w.Verb, w.Subresource, w.Created = "delete", "", false // an eviction deletes the Pod
	case perhaps:
		// A write that may not have happened restores no field, so that it does not count as an apply.
	case e.Verb != "patch" || w.Manager == "":
		w.Operation = "Update" // an apply is a patch and must name its manager
	case query.Has("force") || w.Created:
		w.Operation = "Apply" // other patches cannot have force, and create no object
	}
	if w.Manager == "" {
		w.Manager = defaultManager(e.UserAgent)
	}
	object = Object{e.Object.Group, e.Object.Resource, e.Object.Namespace, e.Object.Name}
	if object.Group == "" && object.Resource == "namespaces" {
		object.Namespace = "" // the event of a write to a Namespace says that it is in that Namespace, unless it creates it
	}
	return object, w, true, nil
}

// dryRun reads the options in the body of a delete, which may have them there and not in its address.
func dryRun(body json.RawMessage) bool {
	var options struct {
		DryRun []string `json:"dryRun"`
	}
	return json.Unmarshal(body, &options) == nil && len(options.DryRun) > 0 // without a body below level Request
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
