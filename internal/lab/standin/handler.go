package standin

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

// handler answers one request to one server.
type handler struct {
	servers *Servers
	name    string
	server  *server
	at      place
	w       http.ResponseWriter
	r       *http.Request
}

// handle chooses the answer.
func (h *handler) handle() {
	query := h.r.URL.Query()
	switch {
	case h.r.Method == http.MethodGet && query.Get("watch") == "true":
		h.count("watch")
		h.watch()
	case h.r.Method == http.MethodGet && h.at.object == "":
		h.count("list")
		h.list()
	case h.r.Method == http.MethodGet:
		h.count("get")
		h.get()
	case h.r.Method == http.MethodDelete && h.at.object != "":
		h.count("delete")
		h.answerChange(h.server.delete(h.at))
	case h.r.Method == http.MethodPost || h.r.Method == http.MethodPut || h.r.Method == http.MethodPatch:
		h.write()
	default:
		h.unknown()
	}
}

// count counts the request as the audit log names it.
func (h *handler) count(verb string) {
	what := verb + " " + h.at.name
	if h.at.subresource != "" {
		what += "/" + h.at.subresource
	}
	if h.r.URL.Query().Has("dryRun") {
		what += " (dry run)"
	}
	h.servers.counted.add(what)
}

func (h *handler) unknown() {
	h.servers.counted.add("unknown " + h.r.Method + " " + h.at.name + " " + h.r.Header.Get("Content-Type"))
	answer(h.w, failure(http.StatusMethodNotAllowed, "MethodNotAllowed", "the stand-in does not know this request"))
}

func (h *handler) get() {
	o := h.server.get(h.at)
	if o == nil {
		answer(h.w, failure(http.StatusNotFound, "NotFound", h.at.name+" "+h.at.object+" is not there").about(h.at))
		return
	}
	h.respond(http.StatusOK, h.shown(o))
}

func (h *handler) list() {
	of, err := h.selection()
	if err != nil {
		answer(h.w, failure(http.StatusBadRequest, "BadRequest", err.Error()))
		return
	}
	objects, version := h.server.list(of)
	items := make([]any, len(objects))
	for i, o := range objects {
		items[i] = h.shown(o)
	}
	kind, apiVersion := "List", strings.TrimPrefix(h.at.group+"/"+h.at.version, "/")
	if h.isMetadataOnly() {
		kind, apiVersion = "PartialObjectMetadataList", "meta.k8s.io/v1"
	}
	h.respond(http.StatusOK, Object{
		"kind": kind, "apiVersion": apiVersion, "items": items, "metadata": Object{"resourceVersion": strconv.FormatUint(version, 10)},
	})
}

func (h *handler) selection() (selection, error) {
	query := h.r.URL.Query()
	selector, err := labels.Parse(query.Get("labelSelector"))
	at := h.at
	if name, ok := strings.CutPrefix(query.Get("fieldSelector"), "metadata.name="); ok {
		at.object = name
	}
	return selection{at, selector}, err
}

// isMetadataOnly reports whether the client asks for the metadata of objects alone.
func (h *handler) isMetadataOnly() bool {
	return strings.Contains(h.r.Header.Get("Accept"), "as=PartialObjectMetadata")
}

// shown is an object in the form that the client asks for.
func (h *handler) shown(o Object) Object {
	if !h.isMetadataOnly() {
		return o
	}
	return Object{"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": o["metadata"]}
}

// write answers a create, an update or a patch.
func (h *handler) write() {
	sent, err := h.body()
	if err != nil {
		answer(h.w, failure(http.StatusBadRequest, "BadRequest", err.Error()))
		return
	}
	query, at := h.r.URL.Query(), h.at
	dryRun := query.Has("dryRun")
	switch kind := types.PatchType(h.r.Header.Get("Content-Type")); {
	case h.r.Method == http.MethodPost && h.at.name == "events":
		h.count("create")
		h.respond(http.StatusCreated, sent) // nobody reads them again
	case h.r.Method == http.MethodPost && h.at.object == "":
		h.count("create")
		at.object, _ = metadata(sent)["name"].(string)
		h.answerChange(h.server.change(at, func(before Object) (Object, *status) { return created(at, before, sent) }, dryRun))
	case h.r.Method == http.MethodPut:
		h.count("update")
		h.answerChange(h.server.change(at, func(before Object) (Object, *status) { return updated(at, before, sent) }, dryRun))
	case h.r.Method == http.MethodPatch && kind == types.ApplyPatchType:
		h.count("patch")
		manager := query.Get("fieldManager")
		h.answerChange(h.server.change(at, func(before Object) (Object, *status) { return applied(at, before, sent, manager) }, dryRun))
	case h.r.Method == http.MethodPatch && kind == types.MergePatchType:
		h.count("patch")
		h.answerChange(h.server.change(at, func(before Object) (Object, *status) { return merged(at, before, sent) }, dryRun))
	default:
		h.unknown()
	}
}

// body reads what was sent, with numbers as the API server reads them. Clients send the kinds of Kubernetes in protobuf.
func (h *handler) body() (Object, error) {
	content, err := io.ReadAll(h.r.Body)
	if err != nil {
		return nil, err
	}
	if h.r.Header.Get("Content-Type") == runtime.ContentTypeProtobuf {
		typed, _, err := scheme.Codecs.UniversalDeserializer().Decode(content, nil, nil)
		if err != nil {
			return nil, err
		}
		return runtime.DefaultUnstructuredConverter.ToUnstructured(typed)
	}
	sent := Object{}
	if utiljson.Unmarshal(content, &sent) == nil {
		return sent, nil
	}
	if content, err = yaml.YAMLToJSON(content); err != nil {
		return nil, err
	}
	return sent, utiljson.Unmarshal(content, &sent)
}

func (h *handler) answerChange(o Object, failed *status) {
	if failed != nil {
		answer(h.w, failed)
		return
	}
	h.respond(http.StatusOK, o)
}

func (h *handler) respond(code int, o Object) {
	h.w.Header().Set("Content-Type", "application/json")
	h.w.WriteHeader(code)
	_ = json.NewEncoder(h.w).Encode(o) // the client has gone
}

func created(p place, before, sent Object) (Object, *status) {
	if before != nil {
		return nil, failure(http.StatusConflict, "AlreadyExists", p.name+" "+p.object+" already exists").about(p)
	}
	return replaced(p, nil, sent), nil
}

func updated(p place, before, sent Object) (Object, *status) {
	if before == nil {
		return nil, failure(http.StatusNotFound, "NotFound", p.name+" "+p.object+" is not there").about(p)
	}
	if failed := checkVersion(p, before, sent); failed != nil {
		return nil, failed
	}
	return replaced(p, before, sent), nil
}

// merged is an object after a merge patch.
func merged(p place, before, patch Object) (Object, *status) {
	if before == nil {
		return nil, failure(http.StatusNotFound, "NotFound", p.name+" "+p.object+" is not there").about(p)
	}
	after := mergedFields(before, patch)
	after["metadata"] = clone(after)["metadata"]
	return after, nil
}

func mergedFields(before, patch Object) Object {
	after := Object{}
	for name, value := range before {
		after[name] = value
	}
	for name, value := range patch {
		fields, isMap := value.(Object)
		below, wasMap := after[name].(Object)
		switch {
		case value == nil:
			delete(after, name)
		case isMap && wasMap:
			after[name] = mergedFields(below, fields)
		default:
			after[name] = value
		}
	}
	return after
}
