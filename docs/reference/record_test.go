package reference_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
)

var aTerm = regexp.MustCompile("`([^`]+)`")

// rows are the table rows of a page, each as the terms that stand in its code marks.
func rows(t *testing.T, page string) [][]string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var out [][]string
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "|") {
			continue
		}
		var terms []string
		for _, match := range aTerm.FindAllStringSubmatch(line, -1) {
			terms = append(terms, match[1])
		}
		out = append(out, terms)
	}
	return out
}

// TestRecordFields holds record.md to the record: every field of spec and status has its place on the page.
func TestRecordFields(t *testing.T) {
	page := rows(t, "record.md")
	fields := 0
	for _, part := range []reflect.Type{reflect.TypeFor[v1alpha1.PipelineSyncSpec](), reflect.TypeFor[v1alpha1.PipelineSyncStatus]()} {
		for i := range part.NumField() {
			top := key(part.Field(i))
			if !mentions(page, top, "") {
				t.Errorf("record.md has no row for %s", top)
			}
			for _, below := range keys(part.Field(i).Type) {
				fields++
				if !mentions(page, top, below) {
					t.Errorf("record.md has no row for %s of %s", below, top)
				}
			}
		}
	}
	if fields < 40 {
		t.Errorf("%d fields were looked for; a record has more", fields)
	}
}

// mentions reports whether a row about a field of the record, or one below it, has a key; empty: whether there is a row.
func mentions(page [][]string, top, key string) bool {
	for _, terms := range page {
		about, has := false, key == ""
		for _, term := range terms {
			about = about || term == top || strings.HasPrefix(term, top+".") || strings.HasPrefix(term, top+"[]")
			has = has || term == key || strings.HasSuffix(term, "."+key)
		}
		if about && has {
			return true
		}
	}
	return false
}

// keys lists the keys of a type's fields and of those below, without the ones that are described elsewhere: conditions are
// Kubernetes' own, and findings are those of the drift report.
func keys(in reflect.Type) []string {
	for in.Kind() == reflect.Slice || in.Kind() == reflect.Pointer {
		in = in.Elem()
	}
	if in.Kind() != reflect.Struct || !strings.HasSuffix(in.PkgPath(), "v1alpha1") || strings.Contains(in.PkgPath(), "apiextensions") {
		return nil
	}
	if in == reflect.TypeFor[v1alpha1.Finding]() || in == reflect.TypeFor[v1alpha1.ObjectReference]() {
		return nil
	}
	var out []string
	for i := range in.NumField() {
		if name := key(in.Field(i)); name != "" {
			out = append(out, name)
		}
		out = append(out, keys(in.Field(i).Type)...)
	}
	return out
}

func key(field reflect.StructField) string {
	name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
	return name
}

// TestConditionReasons holds record.md to the code: every reason that syncer gives a condition stands in its table.
func TestConditionReasons(t *testing.T) {
	described := map[string]bool{}
	for _, terms := range rows(t, "record.md") {
		for _, term := range terms {
			described[term] = true
		}
	}
	reasons := reasonsInCode(t)
	for _, reason := range []string{"Healthy", "Suspended", "PruneRefused"} { // one of each way in which a reason is written
		if reasons[reason] == "" {
			t.Errorf("the code is not read well: it has no %s", reason)
		}
	}
	for reason, at := range reasons {
		if !described[reason] {
			t.Errorf("record.md says nothing of the reason %s, which %s gives", reason, at)
		}
	}
}

// setters are the functions that set conditions.
var setters = map[string]bool{"SetCondition": true, "setReady": true, "setProgressing": true, "setStalled": true, "setCondition": true}

// isReason is the pattern of Kubernetes for the reason of a condition, without its digits.
var isReason = regexp.MustCompile(`^[A-Z][A-Za-z]+$`)

// reasonsInCode finds the reasons with the place that each is written at: the words in calls of functions that set conditions,
// the constants that begin with reason, and the results of reasonOf.
func reasonsInCode(t *testing.T) map[string]string {
	t.Helper()
	var files []string
	for _, room := range []string{"record", "reconcile", "pin"} {
		found, err := filepath.Glob(filepath.Join("..", "..", "pkg", room, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	reasons := map[string]string{}
	set := token.NewFileSet()
	note := func(expr ast.Expr) {
		if literal, ok := expr.(*ast.BasicLit); ok && literal.Kind == token.STRING {
			if text, err := strconv.Unquote(literal.Value); err == nil && isReason.MatchString(text) {
				reasons[text] = set.Position(literal.Pos()).String()
			}
		}
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(set, file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(node ast.Node) bool {
			switch node := node.(type) {
			case *ast.CallExpr:
				if name, ok := node.Fun.(*ast.Ident); ok && setters[name.Name] {
					for _, arg := range node.Args {
						note(arg)
					}
				}
			case *ast.ValueSpec:
				for i, name := range node.Names {
					if strings.HasPrefix(name.Name, "reason") && i < len(node.Values) {
						note(node.Values[i])
					}
				}
			case *ast.FuncDecl:
				if node.Name.Name == "reasonOf" {
					ast.Inspect(node, func(inner ast.Node) bool {
						if result, ok := inner.(*ast.ReturnStmt); ok && len(result.Results) == 1 {
							note(result.Results[0])
						}
						return true
					})
				}
			}
			return true
		})
	}
	return reasons
}
