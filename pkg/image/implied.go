package image

import (
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// Spark and Airflow start pods by images that stand in no image field: in settings, arguments and templates of pods.
// implied finds them although the user does not name their fields. It skips a value that may be something else, such as a
// word in a text: such a value is no error, and Suspects lists it where it looks like an image.

// found is a field of an object with references in it.
type found struct {
	field  manifest.Field
	places []place
}

// implied finds the images by which Spark and Airflow start pods.
func implied(obj *unstructured.Unstructured) []found {
	if !speaksOfImages(obj.Object) || isSecret(obj) {
		return nil
	}
	isConfigMap := manifest.IDOf(obj).GroupKind() == schema.GroupKind{Kind: "ConfigMap"}
	var all []found
	for _, field := range manifest.Leaves(obj.Object) {
		text, ok := field.Value.(string)
		if !ok || field.Path[0].Name == "metadata" || field.Path[0].Name == "status" {
			continue
		}
		if isWorkerRepository(field.Path) {
			if places := pairAt(obj.Object, field, text); len(places) > 0 {
				all = append(all, found{field, places})
			}
			continue
		}
		spans := sparkSettings(text)
		if isConfigMap && field.Path[0].Name == "data" {
			spans = slices.Concat(spans, airflowSettings(text), podTemplates(text))
		}
		if len(spans) > 0 {
			all = append(all, found{field, placesAt(text, apart(spans), field)})
		}
	}
	return all
}

func isSecret(obj *unstructured.Unstructured) bool {
	return manifest.IDOf(obj).GroupKind() == schema.GroupKind{Kind: "Secret"}
}

// words matches each text in which implied can find an image. Most objects have no such text.
var words = regexp.MustCompile(`spark\.kubernetes\.|(?i:worker_container_repository)|kind`)

func speaksOfImages(value any) bool {
	switch value := value.(type) {
	case map[string]any:
		for key, below := range value {
			if words.MatchString(key) && key != "kind" || speaksOfImages(below) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(value, speaksOfImages)
	case string:
		return words.MatchString(value)
	}
	return false
}

// trustworthy reports whether a value that the user does not name is a reference: it has a tag, a digest or a registry.
// Other values are mostly placeholders, such as the dummy_image of Airflow's own pod template.
func trustworthy(value string) bool {
	form, err := formOf(value)
	if err != nil || form == Template {
		return false
	}
	first, rest, hasPath := strings.Cut(value, "/")
	return form == Digest || strings.Contains(value[strings.LastIndex(value, "/")+1:], ":") ||
		hasPath && rest != "" && (strings.ContainsAny(first, ".:") || first == "localhost")
}

// sparkSetting is a setting of Spark by which it starts pods: in a properties file, an argument, a script.
var sparkSetting = regexp.MustCompile(`spark\.kubernetes\.(?:driver\.|executor\.)?container\.image\\?["']?(?:[ \t]*[=:,][ \t]*|[ \t]+)["']?([^\s"'\\,;()\[\]{}<>]+)`)

func sparkSettings(text string) []span {
	if !strings.Contains(text, "spark.kubernetes.") {
		return nil
	}
	var spans []span
	for _, at := range sparkSetting.FindAllStringSubmatchIndex(text, -1) {
		if value := text[at[2]:at[3]]; trustworthy(value) && !isComment(text, at[0]) {
			spans = append(spans, span{value: value, offset: at[2]})
		}
	}
	return spans
}

// isComment reports whether the line of an offset begins as a comment.
func isComment(text string, offset int) bool {
	line := strings.TrimLeft(text[strings.LastIndex(text[:offset], "\n")+1:offset], " \t")
	return strings.HasPrefix(line, "#") || strings.HasPrefix(line, "//") || strings.HasPrefix(line, ";")
}

// workerVariable is a setting of Airflow as an environment variable.
var workerVariable = regexp.MustCompile(`^AIRFLOW__KUBERNETES(_EXECUTOR)?__WORKER_CONTAINER_REPOSITORY$`)

func isWorkerRepository(path manifest.Path) bool { return workerVariable.MatchString(keyOf(path)) }

// keyOf is the name of a field: its last key, or the name of the environment variable whose value it is.
func keyOf(path manifest.Path) string {
	if isVariable(path) {
		return path[len(path)-2].Keys[0].Value
	}
	return path[len(path)-1].Name
}

// pairAt returns the reference whose repository stands in a field and whose tag stands in a sibling.
func pairAt(obj map[string]any, field manifest.Field, repository string) []place {
	tag, ok := tagOfPair(obj, field.Path)
	if !ok || tag.Value == "" || !trustworthy(repository+":"+tag.Value.(string)) {
		return nil
	}
	return []place{{value: repository + ":" + tag.Value.(string), set: func(pinned string) {
		tag.Set(strings.TrimPrefix(pinned, repository+":"))
	}}}
}

var (
	settingsSection = regexp.MustCompile(`^[ \t]*\[([^\]]+)\]`)
	workerSetting   = regexp.MustCompile(`(?i)^[ \t]*(?:export[ \t]+)?(?:AIRFLOW__KUBERNETES(?:_EXECUTOR)?__)?WORKER_CONTAINER_(REPOSITORY|TAG)[ \t]*[=:][ \t]*["']?([^\s"']+)["']?[ \t]*$`)
)

// airflowSettings finds the image of the workers in airflow.cfg, where repository and tag stand in separate lines.
func airflowSettings(text string) []span {
	if !strings.Contains(strings.ToLower(text), "worker_container_repository") {
		return nil
	}
	var spans []span
	var repository string
	var tag *span
	take := func() {
		if tag != nil && repository != "" && trustworthy(repository+":"+tag.value) {
			spans = append(spans, span{value: repository + ":" + tag.value, before: repository + ":", offset: tag.offset})
		}
		repository, tag = "", nil
	}
	offset := 0
	for line := range strings.Lines(text) {
		content := strings.TrimRight(line, "\r\n")
		if settingsSection.MatchString(content) {
			take()
		} else if at := workerSetting.FindStringSubmatchIndex(content); at != nil {
			if value := content[at[4]:at[5]]; strings.EqualFold(content[at[2]:at[3]], "tag") {
				tag = &span{value: value, offset: offset + at[4]}
			} else {
				repository = value
			}
		}
		offset += len(line)
	}
	take()
	return spans
}

// podTemplates finds the images of pod templates in a text. It stops at the first part of the text that is no YAML.
func podTemplates(text string) []span {
	if !strings.Contains(text, "image") || !strings.Contains(text, "kind") {
		return nil
	}
	var spans []span
	lines := lineOffsets(text)
	decoder := yaml.NewDecoder(strings.NewReader(text))
	for {
		var doc yaml.Node
		if err := decoder.Decode(&doc); err != nil {
			break // the end of the text, or of the readable part
		}
		if len(doc.Content) == 1 && isTemplate(doc.Content[0]) {
			collectImages(&doc, text, lines, &spans)
		}
	}
	return slices.DeleteFunc(spans, func(s span) bool { return s.err != nil || !trustworthy(s.value) })
}

func isTemplate(doc *yaml.Node) bool {
	kind, version := valueOf(doc, "kind"), valueOf(doc, "apiVersion")
	if kind == nil {
		return false
	}
	return slices.ContainsFunc(health.KindsWith(health.Embedded), func(known health.Kind) bool {
		return known.GVK.Kind == kind.Value && (version == nil || isVersionOf(version.Value, known.GVK.Group))
	})
}

// isVersionOf reports whether an apiVersion names a version of a group.
func isVersionOf(version, group string) bool {
	if group == "" {
		return strings.HasPrefix(version, "v1")
	}
	return strings.HasPrefix(version, group+"/")
}
