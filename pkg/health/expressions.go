package health

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/google/cel-go/cel"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/version"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/environment"
)

// Declared is a kind that a configuration describes by CEL expressions over the variable object, in the language of
// Kubernetes' own admission policies (https://kubernetes.io/docs/reference/using-api/cel/). Each expression is optional
// and gives a bool.
type Declared struct{ Group, Kind, Running, Healthy, Failed string }

// expressions are the compiled expressions of one kind; nil where the configuration has none.
type expressions struct{ running, healthy, failed cel.Program }

// New compiles the expressions of a configuration. Its error names the key of each wrong expression.
func New(kinds []Declared) (*Judge, error) {
	j := &Judge{declared: map[schema.GroupKind]expressions{}}
	if len(kinds) == 0 {
		return j, nil
	}
	env, err := newEnvironment()
	if err != nil {
		return nil, err
	}
	var errs []error
	for i, kind := range kinds {
		gk := schema.GroupKind{Group: kind.Group, Kind: kind.Kind}
		if _, twice := j.declared[gk]; twice {
			errs = append(errs, fmt.Errorf("kinds[%d]: %s is described twice", i, gk))
		}
		var declared expressions
		for _, each := range []struct {
			key, text string
			program   *cel.Program
		}{{"running", kind.Running, &declared.running}, {"healthy", kind.Healthy, &declared.healthy}, {"failed", kind.Failed, &declared.failed}} {
			if each.text == "" {
				continue
			}
			if *each.program, err = compile(env, each.text); err != nil {
				errs = append(errs, fmt.Errorf("kinds[%d].%s: %w", i, each.key, err))
			}
		}
		j.declared[gk] = declared
	}
	return j, errors.Join(errs...)
}

func newEnvironment() (*cel.Env, error) {
	set, err := environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()).Extend(environment.VersionedOptions{
		IntroducedVersion: version.MajorMinor(1, 0),
		EnvOptions:        []cel.EnvOption{cel.Variable("object", cel.DynType)},
	})
	if err != nil {
		return nil, fmt.Errorf("preparing CEL: %w", err)
	}
	return set.Env(environment.StoredExpressions)
}

func compile(env *cel.Env, text string) (cel.Program, error) {
	ast, issues := env.Compile(text)
	if issues.Err() != nil {
		first := issues.Errors()[0] // the text of CEL has three lines and points at the character
		return nil, fmt.Errorf("%q is no CEL expression: %s (at character %d)", text, first.Message, first.Location.Column()+1)
	}
	if out := ast.OutputType(); !out.IsExactType(cel.BoolType) && !out.IsExactType(cel.DynType) {
		return nil, fmt.Errorf("%q gives %s; write an expression that is true or false", text, out)
	}
	// The API server's own limit for one expression of a policy.
	return env.Program(ast, cel.EvalOptions(cel.OptOptimize, cel.OptTrackCost), cel.CostLimit(celconfig.PerCallLimit))
}

// holds evaluates an expression. A missing field makes it false, since most objects have no status at first.
func holds(program cel.Program, obj *unstructured.Unstructured) (bool, error) {
	if program == nil {
		return false, nil
	}
	value, _, err := program.Eval(map[string]any{"object": obj.Object})
	switch {
	case err != nil && strings.Contains(err.Error(), "no such key"):
		return false, nil
	case err != nil:
		return false, err
	}
	is, ok := value.Value().(bool)
	if !ok {
		return false, fmt.Errorf("it gives %v, which is neither true nor false", value.Value())
	}
	return is, nil
}

func (j *Judge) expressions(obj *unstructured.Unstructured) (expressions, bool) {
	if j == nil {
		return expressions{}, false
	}
	declared, ok := j.declared[kindOf(obj)]
	return declared, ok
}

// judgeHealth reports whether the configuration says how healthy an object is, and not only whether it runs.
func (e expressions) judgeHealth() bool { return e.healthy != nil || e.failed != nil }

func (e expressions) health(obj *unstructured.Unstructured) Health {
	failed, err := holds(e.failed, obj)
	if err != nil {
		return Health{Status: InProgress, Message: "the expression `failed` of its kind cannot be judged: " + err.Error()}
	}
	if failed {
		return Health{Status: Failed, Message: "it failed" + after(text(obj, "status", "message")), Completed: e.running != nil}
	}
	if e.healthy == nil {
		return KindOf(kindOf(obj)).Health(obj)
	}
	healthy, err := holds(e.healthy, obj)
	switch {
	case err != nil:
		return Health{Status: InProgress, Message: "the expression `healthy` of its kind cannot be judged: " + err.Error()}
	case !observed(obj):
		return Health{Status: InProgress, Message: "its controller has not seen the newest change yet"}
	case !healthy:
		return Health{Status: InProgress, Message: "it is not healthy yet" + after(text(obj, "status", "message"))}
	}
	verdict := Health{Status: Healthy, Message: "it is healthy"}
	if e.running != nil {
		running, err := holds(e.running, obj)
		verdict.Completed = err == nil && !running
	}
	return verdict
}

// run judges by the expression whether an object runs. An object that does not run has ended when it is healthy or
// failed. An expression that cannot be judged counts as running: an unneeded wait is the smaller harm.
func (e expressions) run(obj *unstructured.Unstructured) Run {
	run := Run{State: Idle, ID: statusID(obj), Message: "it is running by the expression of its kind"}
	running, err := holds(e.running, obj)
	if err != nil {
		run.State, run.Message = Running, "the expression `running` of its kind cannot be judged: "+err.Error()
		return run
	}
	if running {
		run.State = Running
		return run
	}
	failed, _ := holds(e.failed, obj)
	healthy, _ := holds(e.healthy, obj)
	run.Message = "it is not running"
	if failed || healthy {
		run.State, run.Failed = Ended, failed
	}
	return run
}

// short is a hash that tells texts apart.
func short(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}
