package drift

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// YAML prints the document that JSON has.
func YAML(w io.Writer, report Report) error {
	doc, err := json.Marshal(report)
	if err != nil {
		return err
	}
	for _, r := range []string{"\ufffe", "\uffff"} { // not in YAML (1.2, section 5.1)
		doc = bytes.ReplaceAll(doc, []byte(r), []byte("\ufffd"))
	}
	if doc, err = yaml.JSONToYAML(doc); err != nil {
		return err
	}
	_, err = w.Write(doc)
	return err
}

type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Skipped  int          `xml:"skipped,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name      string      `xml:"name,attr"`
	Tests     int         `xml:"tests,attr"`
	Failures  int         `xml:"failures,attr"`
	Errors    int         `xml:"errors,attr"`
	Skipped   int         `xml:"skipped,attr"`
	Timestamp string      `xml:"timestamp,attr"`
	Cases     []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name    string         `xml:"name,attr"`
	Class   string         `xml:"classname,attr"`
	File    string         `xml:"file,attr,omitempty"`
	Failure *junitProblem  `xml:"failure"`
	Error   *junitProblem  `xml:"error"`
	Skipped *junitSkipping `xml:"skipped"`
}

type junitProblem struct {
	Type    string `xml:"type,attr"`
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

type junitSkipping struct {
	Message string `xml:"message,attr"`
}

// JUnit prints a report as CI systems read test results: a suite for each target, and a failed test for each finding. A
// target without findings has one test that passes.
func JUnit(w io.Writer, report Report) error {
	all := junitSuites{Name: "syncer drift"}
	for _, target := range report.Targets {
		name := target.Pipeline + "@" + target.Environment
		suite := junitSuite{Name: clean(name), Timestamp: report.GeneratedAt.UTC().Format(time.RFC3339)}
		add := func(c junitCase) {
			suite.Tests++
			switch {
			case c.Failure != nil:
				suite.Failures++
			case c.Error != nil:
				suite.Errors++
			case c.Skipped != nil:
				suite.Skipped++
			}
			suite.Cases = append(suite.Cases, c)
		}
		if target.Error != "" {
			add(junitCase{Name: "comparison", Class: clean(name), Error: &junitProblem{Type: "error", Message: clean(target.Error)}})
		}
		for _, f := range report.Findings {
			if f.Pipeline != target.Pipeline || f.Environment != target.Environment {
				continue
			}
			c := junitCase{Name: clean(strings.TrimSpace(fmt.Sprintf("%s %s", f.Object, f.Path))), Class: clean(name), File: clean(f.File)}
			if f.Kind == Held {
				c.Skipped = &junitSkipping{Message: clean(f.Message)}
			} else {
				c.Failure = &junitProblem{Type: string(f.Kind), Message: clean(f.Message), Text: clean(f.sides(report.GeneratedAt))}
			}
			add(c)
		}
		for _, s := range report.Skew {
			if s.Declared || s.Expected || s.Pipeline != target.Pipeline || s.Environments[1] != target.Environment {
				continue // each stands with the second of its environments
			}
			add(junitCase{Name: clean(strings.TrimSpace(fmt.Sprintf("%s %s", s.Object, s.Path))), Class: clean(name), Failure: &junitProblem{Type: "Skew", Message: clean(s.Message)}})
		}
		if len(suite.Cases) == 0 {
			add(junitCase{Name: "no drift", Class: clean(name)})
		}
		all.Tests += suite.Tests
		all.Failures += suite.Failures
		all.Errors += suite.Errors
		all.Skipped += suite.Skipped
		all.Suites = append(all.Suites, suite)
	}
	doc, err := xml.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, xml.Header+string(doc)+"\n")
	return err
}

// sides are both values of a finding and its author, a line each.
func (f Finding) sides(now time.Time) string {
	lines := []string{"severity: " + string(f.Severity)}
	if f.Desired != nil || f.Live != nil {
		lines = append(lines, "git:  "+orNothing(f.Desired), "live: "+orNothing(f.Live))
	}
	if f.Manager != "" || f.User != "" {
		lines = append(lines, "by:   "+f.author(now))
	}
	if f.File != "" {
		lines = append(lines, fmt.Sprintf("at:   %s:%d", f.File, f.Line))
	}
	return strings.Join(lines, "\n")
}

// clean drops the characters that XML does not allow (XML 1.0, section 2.2) and those that turn a text's direction.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if manifest.Unsafe(r) && r != '\n' || r == 0xfffe || r == 0xffff {
			return ' '
		}
		return r
	}, text)
}

// A log, a run, a result and a location of SARIF 2.1.0 (OASIS), with the fields that syncer uses.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool     sarifTool           `json:"tool"`
		BaseIDs  map[string]sarifURI `json:"originalUriBaseIds"`
		Results  []sarifResult       `json:"results"`
		Revision []sarifRevision     `json:"versionControlProvenance,omitempty"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name           string      `json:"name"`
		InformationURI string      `json:"informationUri"`
		Rules          []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID   string    `json:"id"`
		Text sarifText `json:"shortDescription"`
		Help sarifText `json:"help"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifURI struct {
		Description *sarifText `json:"description,omitempty"`
	}
	sarifRevision struct {
		Repository string `json:"repositoryUri"`
		Revision   string `json:"revisionId"`
	}
	sarifResult struct {
		Rule         string            `json:"ruleId"`
		Level        string            `json:"level"`
		Message      sarifText         `json:"message"`
		Locations    []sarifLocation   `json:"locations"`
		Fingerprints map[string]string `json:"partialFingerprints"`
	}
	sarifLocation struct {
		Physical *sarifPhysical `json:"physicalLocation,omitempty"`
		Logical  []sarifLogical `json:"logicalLocations"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   sarifRegion   `json:"region"`
	}
	sarifArtifact struct {
		URI  string `json:"uri"`
		Base string `json:"uriBaseId"`
	}
	sarifRegion struct {
		Line int `json:"startLine"`
	}
	sarifLogical struct {
		Name string `json:"fullyQualifiedName"`
		Kind string `json:"kind"`
	}
)

// ruleTexts describes each kind of finding, and gives advice.
var ruleTexts = []struct {
	kind       Kind
	text, help string
}{
	{Modified, "A field that git sets has another value", "Commit the change, or restore what git says with `syncer sync --correct`."},
	{Added, "Somebody set a field that git does not have", "Commit the field, remove it from the cluster, or name it in an ignore rule."},
	{Missing, "An object that git sets is not in the cluster", "Restore it with `syncer sync --correct`."},
	{Orphaned, "An object is not in git that syncer applied, or that carries its label", "The next sync deletes what syncer applied. Delete the rest, take its label off, or commit it."},
	{NotCompared, "The API server refuses to read an object, or to try what git says of it", "Do what the message says; the rest of the pipeline does not wait for it."},
	{NotRerun, "A changed object was not run again", "Set `rerun: OnChange` in pipeline.yaml, or delete the object so that it is created again."},
	{Held, "A change that git made waits", "Nothing: it goes out when what it waits for has ended."},
	{TagMoved, "A tag stands for other bytes than those that run", "Refresh the pin in pipeline.yaml to deploy what the tag stands for now."},
	{ImageMissing, "A deployed image is gone from its registry", "Push the image again, or deploy another: a new node cannot pull it."},
}

// SARIF prints a report as static analysis results, as code scanning reads them: each finding stands where git sets the
// desired value.
func SARIF(w io.Writer, report Report) error {
	run := sarifRun{
		Tool:    sarifTool{sarifDriver{Name: "syncer", InformationURI: "https://github.com/syncerdev/syncer"}},
		BaseIDs: map[string]sarifURI{"SRCROOT": {Description: &sarifText{"The root of the repository."}}},
		Results: []sarifResult{},
	}
	if strings.Contains(report.Source.URL, "://") {
		run.Revision = []sarifRevision{{report.Source.URL, report.Source.Commit}}
	}
	for _, rule := range ruleTexts {
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{string(rule.kind), sarifText{rule.text}, sarifText{rule.help}})
	}
	for _, f := range report.Findings {
		run.Results = append(run.Results, f.sarif())
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(sarifLog{Schema: "https://json.schemastore.org/sarif-2.1.0.json", Version: "2.1.0", Runs: []sarifRun{run}})
}

func (f Finding) sarif() sarifResult {
	level := map[Severity]string{Critical: "error", Warning: "warning", Info: "note"}[f.Severity]
	name := fmt.Sprintf("%s@%s/%s", f.Pipeline, f.Environment, f.Object)
	if f.Path != "" {
		name += "/" + f.Path
	}
	location := sarifLocation{Logical: []sarifLogical{{Name: name, Kind: "member"}}}
	if f.File != "" {
		location.Physical = &sarifPhysical{sarifArtifact{(&url.URL{Path: f.File}).EscapedPath(), "SRCROOT"}, sarifRegion{max(1, f.Line)}}
	}
	// The fingerprint names the subject of a finding. It stays the same from run to run while the values change.
	sum := sha256.Sum256([]byte(string(f.Kind) + "\x00" + name))
	return sarifResult{
		Rule: string(f.Kind), Level: level, Message: sarifText{f.Message}, Locations: []sarifLocation{location},
		Fingerprints: map[string]string{"finding/v1": hex.EncodeToString(sum[:16])},
	}
}
