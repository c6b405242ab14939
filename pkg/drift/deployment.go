package drift

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
)

// Image is an image reference as git writes it, and the digest that it runs by.
type Image struct {
	Reference string `json:"reference"`
	Tag       string `json:"-"` // that a range of pipeline.yaml chose; empty without one
	Digest    string `json:"digest"`
}

// Deployment is one commit that changed what runs in a target.
type Deployment struct {
	Number     int64      `json:"number"`
	Commit     string     `json:"commit"`
	Author     string     `json:"author"`
	Subject    string     `json:"subject"`
	Time       time.Time  `json:"time"`
	Outcome    string     `json:"outcome"` // Applied, Failed or Held
	Images     []Image    `json:"images"`
	RollbackOf Earlier    `json:"rollbackOf"`
	HealthyAt  *time.Time `json:"healthyAt"` // nil: it did not become healthy
	AllowedBy  string     `json:"allowedBy"` // who allowed it without promotion; empty: it needed no permission
}

// Earlier is the number of the deployment that a deployment returns to; 0: it returns to none. JSON has null for 0.
type Earlier int64

// MarshalJSON writes null for 0.
func (e Earlier) MarshalJSON() ([]byte, error) {
	if e == 0 {
		return []byte("null"), nil
	}
	return json.Marshal(int64(e))
}

// Deployments are the deployments of a target in a report. The JSON of a report has an outline of each; a history has the
// rest.
type Deployments []Deployment

// MarshalJSON writes the outlines.
func (d Deployments) MarshalJSON() ([]byte, error) {
	if d == nil {
		return []byte("null"), nil
	}
	type outline struct {
		Number     int64     `json:"number"`
		Commit     string    `json:"commit"`
		Author     string    `json:"author"`
		Subject    string    `json:"subject"`
		Time       time.Time `json:"time"`
		Outcome    string    `json:"outcome"`
		RollbackOf int64     `json:"rollbackOf"`
	}
	outlines := make([]outline, len(d))
	for i, one := range d {
		outlines[i] = outline{one.Number, one.Commit, one.Author, one.Subject, one.Time, one.Outcome, int64(one.RollbackOf)}
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false) // the encoder that called this one escapes where it has to
	err := encoder.Encode(outlines)
	return out.Bytes(), err
}

// DeploymentsOf returns the deployments that a record keeps.
func DeploymentsOf(history []v1alpha1.Deployment) Deployments {
	out := make(Deployments, len(history))
	for i, d := range history {
		out[i] = Deployment{
			Number: d.Number, Commit: d.Commit, Author: d.Author, Subject: d.Subject, Time: d.Time.UTC(), Outcome: d.Outcome,
			Images: ImagesOf(d.Images), RollbackOf: Earlier(d.RollbackOf), HealthyAt: timeOf(d.HealthyAt), AllowedBy: d.AllowedBy,
		}
	}
	return out
}

// ImagesOf returns the images of a deployment in a record.
func ImagesOf(recorded []v1alpha1.DeployedImage) []Image {
	out := make([]Image, len(recorded))
	for i, image := range recorded {
		out[i] = Image(image)
	}
	return out
}
