package drift

import (
	"encoding/json"
	"reflect"
	"slices"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// The bounds of the drift in a record.
const (
	keptFindings = 50
	keptPast     = 50
	longestKept  = 500 // bytes of one value
	longestText  = 500 // bytes of a path, a message and the like
	longestName  = 256 // bytes of an author's name
)

// Summary is the record's part of findings, and of the findings before: when each was first seen, and how it ended.
// corrected are the findings that syncer has just corrected.
func Summary(findings, corrected []Finding, before *v1alpha1.DriftSummary, now time.Time) *v1alpha1.DriftSummary {
	summary := &v1alpha1.DriftSummary{Total: len(findings)}
	if before != nil {
		summary.Past = before.Past
	}
	at := metav1.NewTime(now.UTC().Truncate(time.Second))
	for _, f := range findings[:min(len(findings), keptFindings)] {
		summary.Findings = append(summary.Findings, withFirstSeen(toRecord(f), before, at))
	}
	var ended []v1alpha1.PastFinding
	end := func(f v1alpha1.Finding, how Ending) {
		ended = append(ended, v1alpha1.PastFinding{Finding: withFirstSeen(f, before, at), EndedAt: at, Ending: string(how)})
	}
	isIn := func(list []v1alpha1.Finding, f v1alpha1.Finding) bool {
		return slices.ContainsFunc(list, func(other v1alpha1.Finding) bool { return same(f, other) })
	}
	var put []v1alpha1.Finding
	for _, f := range corrected {
		put = append(put, toRecord(f))
		end(put[len(put)-1], Corrected)
	}
	if before != nil {
		all := make([]v1alpha1.Finding, len(findings)) // a finding beyond the kept ones is still there
		for i, f := range findings {
			all[i] = toRecord(f)
		}
		for _, f := range before.Findings {
			if f.Kind != string(Held) && !isIn(all, f) && !isIn(put, f) {
				end(f, Gone)
			}
		}
	}
	summary.Past = append(ended, summary.Past...)
	summary.Past = summary.Past[:min(len(summary.Past), keptPast)]
	if summary.Total == 0 && len(summary.Past) == 0 {
		return nil
	}
	return summary
}

// News returns a sentence for each finding that the check before did not have, and for each corrected finding.
func News(before, after *v1alpha1.DriftSummary) (found, corrected []string) {
	if before == nil {
		before = &v1alpha1.DriftSummary{}
	}
	if after == nil {
		return nil, nil
	}
	for _, f := range after.Findings {
		known := slices.ContainsFunc(before.Findings, func(old v1alpha1.Finding) bool { return same(f, old) })
		if f.Kind != string(Held) && !known {
			found = append(found, f.Message)
		}
	}
	for _, past := range after.Past {
		known := slices.ContainsFunc(before.Past, func(old v1alpha1.PastFinding) bool {
			return same(past.Finding, old.Finding) && past.EndedAt.Equal(&old.EndedAt)
		})
		if past.Ending == string(Corrected) && !known {
			corrected = append(corrected, past.Message)
		}
	}
	return found, corrected
}

func same(a, b v1alpha1.Finding) bool {
	return a.Kind == b.Kind && a.Object == b.Object && a.Path == b.Path
}

func withFirstSeen(f v1alpha1.Finding, before *v1alpha1.DriftSummary, now metav1.Time) v1alpha1.Finding {
	f.FirstSeen = &now
	if before == nil {
		return f
	}
	if i := slices.IndexFunc(before.Findings, func(old v1alpha1.Finding) bool { return same(f, old) }); i >= 0 && before.Findings[i].FirstSeen != nil {
		f.FirstSeen = before.Findings[i].FirstSeen
	}
	return f
}

// Recall adds the record's knowledge to findings: when each was first seen, and its author.
func Recall(findings []Finding, before *v1alpha1.DriftSummary) {
	if before == nil {
		return
	}
	for i := range findings {
		known := toRecord(findings[i])
		for _, old := range before.Findings {
			if same(known, old) {
				findings[i].FirstSeen = timeOf(old.FirstSeen)
			}
			// Not every write leaves its time: another value is of another write.
			if same(known, old) && findings[i].User == "" && old.Manager == known.Manager && old.Time.Equal(known.Time) && reflect.DeepEqual(kept(old.Live), kept(known.Live)) {
				findings[i].User = old.User
			}
		}
	}
}

// PastOf lists the past findings of a target's record.
func PastOf(pipeline, environment string, summary *v1alpha1.DriftSummary) []Past {
	if summary == nil {
		return nil
	}
	out := make([]Past, len(summary.Past))
	for i, past := range summary.Past {
		out[i] = Past{Finding: fromRecord(pipeline, environment, past.Finding), EndedAt: past.EndedAt.UTC(), Ending: Ending(past.Ending)}
	}
	return out
}

// Recorded are the findings of the last check, as a target's record has them.
func Recorded(pipeline, environment string, summary *v1alpha1.DriftSummary) []Finding {
	if summary == nil {
		return nil
	}
	out := make([]Finding, len(summary.Findings))
	for i, f := range summary.Findings {
		out[i] = fromRecord(pipeline, environment, f)
	}
	return out
}

func toRecord(f Finding) v1alpha1.Finding {
	out := v1alpha1.Finding{
		Kind: string(f.Kind), Severity: string(f.Severity), Path: manifest.Cut(f.Path, longestText), Message: manifest.Cut(f.Message, longestText),
		Object:  v1alpha1.ObjectReference{APIVersion: f.Object.APIVersion, Kind: f.Object.Kind, Namespace: f.Object.Namespace, Name: f.Object.Name},
		Desired: keep(f.Desired), Live: keep(f.Live),
		Manager: manifest.Cut(f.Manager, longestName), Operation: f.Operation, Subresource: f.Subresource, User: manifest.Cut(f.User, longestName),
		File: manifest.Cut(f.File, longestText), Line: f.Line,
	}
	if f.Time != nil {
		at := metav1.NewTime(*f.Time)
		out.Time = &at
	}
	return out
}

func fromRecord(pipeline, environment string, f v1alpha1.Finding) Finding {
	return Finding{
		Pipeline: pipeline, Environment: environment, Kind: Kind(f.Kind), Severity: Severity(f.Severity), Path: f.Path, Message: f.Message,
		Object:  manifest.ID{APIVersion: f.Object.APIVersion, Kind: f.Object.Kind, Namespace: f.Object.Namespace, Name: f.Object.Name},
		Desired: kept(f.Desired), Live: kept(f.Live),
		Manager: f.Manager, Operation: f.Operation, Subresource: f.Subresource, User: f.User, File: f.File, Line: f.Line,
		Time: timeOf(f.Time), FirstSeen: timeOf(f.FirstSeen),
	}
}

func timeOf(t *metav1.Time) *time.Time {
	if t == nil {
		return nil
	}
	at := t.UTC()
	return &at
}

// keep is a value as a record has it. A long one is kept as the beginning of its text.
func keep(value any) *apiextensionsv1.JSON {
	if value == nil {
		return nil
	}
	doc, err := json.Marshal(value)
	if err == nil && len(doc) > longestKept {
		text, ok := value.(string)
		if !ok {
			text = string(doc)
		}
		runes := []rune(text)
		doc, err = json.Marshal(string(runes[:min(len(runes), longestKept/4)]) + "...")
	}
	if err != nil {
		return nil
	}
	return &apiextensionsv1.JSON{Raw: doc}
}

func kept(value *apiextensionsv1.JSON) any {
	if value == nil {
		return nil
	}
	var out any
	if json.Unmarshal(value.Raw, &out) != nil {
		return nil
	}
	return out
}
