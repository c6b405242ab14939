package pin

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/record"
	"github.com/syncerdev/syncer/pkg/target"
)

// deployedAgo is a deployment of web:1, some minutes ago, and healthy since some minutes; below 0: it never was.
func deployedAgo(outcome, digest string, deployed, healthy int) v1alpha1.Deployment {
	ago := func(minutes int) metav1.Time { return metav1.NewTime(now.Add(-time.Duration(minutes) * time.Minute)) }
	d := v1alpha1.Deployment{Outcome: outcome, Time: ago(deployed), Images: []v1alpha1.DeployedImage{{Reference: "web:1", Digest: digest}}}
	if healthy >= 0 {
		at := ago(healthy)
		d.HealthyAt = &at
	}
	return d
}

func keyed(reference string, refresh bool) target.PinKey {
	key := target.PinKey{Reference: reference}
	if refresh {
		key.Refresh = "again"
	}
	return key
}

// broken is a deployment that was healthy and is not any more.
func broken(d v1alpha1.Deployment) v1alpha1.Deployment {
	at := metav1.NewTime(now.Add(-30 * time.Minute))
	d.UnhealthyAt = &at
	return d
}

// A reference is promoted as it runs in the other environment.
func TestPromotionOfRanges(t *testing.T) {
	since := now.Add(-time.Hour)
	ranged := deployedAgo(record.Applied, "a", 90, 80)
	ranged.Images[0] = v1alpha1.DeployedImage{Reference: "web:1", Tag: "v2.5.0", Digest: "a"}
	p := &promotion{from: "staging", now: now, ready: &since, history: []v1alpha1.Deployment{ranged}}
	for _, c := range []struct {
		key         target.PinKey
		digest, tag string
	}{
		{target.PinKey{Reference: "web:v2.5.0"}, "a", ""},
		{target.PinKey{Reference: "web:1"}, "", ""},
		{target.PinKey{Reference: "web:1", Semver: ">=2"}, "a", "v2.5.0"},
		{target.PinKey{Reference: "web:1", Semver: "v2.4.x"}, "", ""},
	} {
		digest, tag, missing := p.digest(c.key)
		if digest != c.digest || tag != c.tag || (digest == "") != (missing != "") {
			t.Errorf("%+v: %q, %q, %q", c.key, digest, tag, missing)
		}
	}
}

// A refresh that git asks for there too waits for the other environment's.
func TestPromotionOfARefresh(t *testing.T) {
	since := now.Add(-time.Hour)
	p := &promotion{
		from: "staging", now: now, ready: &since, history: []v1alpha1.Deployment{deployedAgo(record.Applied, "a", 90, 80)},
		asked: map[string]string{"web:1": "again"}, pins: []v1alpha1.PinnedImage{{Reference: "web:1", Digest: "a"}},
	}
	if digest, _, missing := p.digest(keyed("web:1", true)); digest != "" || !strings.Contains(missing, "not refreshed there yet") {
		t.Errorf("%q, %q", digest, missing)
	}
	p.pins = append(p.pins, v1alpha1.PinnedImage{Reference: "web:1", Refresh: "again", Digest: "a"})
	if digest, _, missing := p.digest(keyed("web:1", true)); digest != "a" {
		t.Errorf("%q, %q", digest, missing)
	}
}

func TestPromotionWaitsForHealth(t *testing.T) {
	const never = -1
	of := func(d ...v1alpha1.Deployment) []v1alpha1.Deployment { return d }
	other := deployedAgo(record.Applied, "z", 5, 4)
	other.Images[0].Reference = "web:2"
	for name, c := range map[string]struct {
		history []v1alpha1.Deployment // the newest first
		ready   int                   // since how many minutes; below 0: it is not
		after   time.Duration
		refresh bool
		want    string // the digest, or a part of what it waits for
	}{
		"nothing there":               {nil, 9, 0, false, "web:1 was never deployed there"},
		"another reference there":     {of(other), 9, 0, false, "web:1 was never deployed there"},
		"healthy":                     {of(deployedAgo(record.Applied, "a", 10, 9)), 9, 0, false, "=a"},
		"not healthy yet":             {of(deployedAgo(record.Applied, "a", 10, never)), never, 0, false, "web:1 is deployed there since 2026-01-02T02:54:05Z and not healthy yet"},
		"no longer healthy":           {of(deployedAgo(record.Applied, "a", 10, 9)), never, 0, false, "not healthy now"},
		"held":                        {of(deployedAgo(record.HeldInPart, "a", 10, never)), 9, 0, false, "web:1 is held there"},
		"failed":                      {of(deployedAgo(record.Failed, "a", 10, never)), never, 0, false, "was deployed there and never healthy"},
		"the newest that was healthy": {of(deployedAgo(record.Applied, "b", 5, never), deployedAgo(record.Applied, "a", 10, 9)), never, 0, false, "=a"},
		"a refresh wants the newest":  {of(deployedAgo(record.Applied, "b", 5, never), deployedAgo(record.Applied, "a", 10, 9)), never, 0, true, "not healthy yet"},

		"soaked":                        {of(deployedAgo(record.Applied, "a", 40, 30)), 30, 30 * time.Minute, false, "=a"},
		"not for long enough":           {of(deployedAgo(record.Applied, "a", 40, 29)), 29, 30 * time.Minute, false, "web:1 is healthy there since 2026-01-02T02:35:05Z and has to be for 30m0s, which is until 2026-01-02T03:05:05Z"},
		"not healthy in between":        {of(deployedAgo(record.Applied, "a", 90, 80)), 10, 30 * time.Minute, false, "is healthy there since 2026-01-02T02:54:05Z"},
		"other changes in between":      {of(deployedAgo(record.Applied, "a", 20, 19), deployedAgo(record.Failed, "b", 25, never), deployedAgo(record.Applied, "a", 90, 80)), 80, 30 * time.Minute, false, "=a"},
		"other bytes in between":        {of(deployedAgo(record.Applied, "a", 20, 19), deployedAgo(record.Applied, "b", 25, 24), deployedAgo(record.Applied, "a", 90, 80)), 80, 2 * time.Hour, false, "web:1 is healthy there since 2026-01-02T02:45:05Z"},
		"replaced after it had soaked":  {of(other, deployedAgo(record.Applied, "a", 90, 80)), 4, 30 * time.Minute, false, "=a"},
		"replaced before it had soaked": {of(deployedAgo(record.Applied, "z", 79, 78), deployedAgo(record.Applied, "a", 90, 80)), 5, 2 * time.Hour, false, "has to be for 2h0m0s"},
		"replaced at once, long ago":    {of(other, deployedAgo(record.Applied, "y", 79, never), deployedAgo(record.Applied, "a", 90, 80)), 4, 30 * time.Minute, false, "web:1 was deployed there and never healthy"},
		"broken, under a failure":       {of(deployedAgo(record.Failed, "b", 79, never), deployedAgo(record.Applied, "a", 90, 80)), never, 0, false, "never healthy"},
		"broken, under a hold":          {of(deployedAgo(record.HeldInPart, "b", 79, never), deployedAgo(record.Applied, "a", 90, 80)), never, 0, false, "is held there"},
		"broken when it was replaced":   {of(other, broken(deployedAgo(record.Applied, "a", 90, 80))), 4, 0, false, "was not healthy there any more"},
		"a failure replaces nothing":    {of(deployedAgo(record.Failed, "b", 79, never), deployedAgo(record.Applied, "a", 90, 80)), 80, 30 * time.Minute, false, "=a"},
		"a hold replaces nothing":       {of(deployedAgo(record.HeldInPart, "b", 79, never), deployedAgo(record.Applied, "a", 90, 80)), 80, 30 * time.Minute, false, "=a"},
	} {
		p := &promotion{from: "staging", after: c.after, now: now, history: c.history}
		if c.ready >= 0 {
			since := now.Add(-time.Duration(c.ready) * time.Minute)
			p.ready = &since
		}
		digest, _, missing := p.digest(keyed("web:1", c.refresh))
		if want, ok := strings.CutPrefix(c.want, "="); ok && (digest != want || missing != "") || !ok && (digest != "" || !strings.Contains(missing, c.want)) {
			t.Errorf("%s: %q, %q", name, digest, missing)
		}
		if c.refresh {
			continue
		}
		// A digest that git writes itself waits in the same way.
		want, ok := strings.CutPrefix(c.want, "=")
		if missing := p.seen("web@a", "a"); ok && want == "a" && missing != "" || !ok && missing == "" {
			t.Errorf("%s: by digest: %q", name, missing)
		}
	}
}

// A deployment that soon gave way to another one was not healthy for long, however long ago that is.
func TestSoakEndsWithItsDeployment(t *testing.T) {
	other := deployedAgo(record.Applied, "z", 79, 78)
	other.Images[0].Reference = "web:2"
	since := now.Add(-78 * time.Minute)
	p := &promotion{from: "staging", after: 30 * time.Minute, now: now, ready: &since, history: []v1alpha1.Deployment{other, deployedAgo(record.Applied, "a", 90, 80)}}
	if digest, _, missing := p.digest(target.PinKey{Reference: "web:1"}); digest != "" || missing != "web:1 was healthy there for 1m0s and has to be for 30m0s" {
		t.Errorf("%q, %q", digest, missing)
	}
}

// A trailer lets through what the other environment never ran. What it did run is taken from there nevertheless.
func TestAllowedReferencesStillPreferThePromotedOnes(t *testing.T) {
	since := now.Add(-time.Hour)
	promoting := func(allowed bool) *decider {
		d := deciding(v1alpha1.Pin, v1alpha1.KeepPins{})
		d.request.AllowPromotion = allowed
		d.promotion = &promotion{from: "staging", now: now, ready: &since, history: []v1alpha1.Deployment{deployedAgo(record.Applied, "a", 90, 80)}}
		for _, value := range []string{"web:1", "web:2"} {
			d.desired.Rendered.Refs = append(d.desired.Rendered.Refs, image.Reference{Value: value, Form: image.Tag})
		}
		return d
	}
	d := promoting(false)
	if ask, waiting := d.sort(); len(ask) != 0 || len(waiting) != 1 || !strings.HasPrefix(waiting[0], "web:2 ") {
		t.Errorf("without a trailer: asks %v, waits for %v", ask, waiting)
	}
	d = promoting(true)
	if ask, waiting := d.sort(); len(ask) != 1 || ask[0].Reference != "web:2" || len(waiting) != 0 {
		t.Errorf("with a trailer: asks %v, waits for %v", ask, waiting)
	}
	if pin := d.recorded[target.PinKey{Reference: "web:1"}]; pin.Digest != "a" || pin.PromotedFrom != "staging" {
		t.Errorf("got %+v", pin)
	}
}

// An image that was changed by hand says nothing of the deployment below it, however healthy it is.
func TestPromotionWaitsWhereAnImageWasChangedByHand(t *testing.T) {
	p := &promotion{from: "staging", now: now, swapped: []string{"Deployment/shop/web"}, history: []v1alpha1.Deployment{deployedAgo(record.Applied, "a", 60, 50)}}
	if digest, _, missing := p.digest(keyed("web:1", false)); digest != "" || missing != "web:1 is deployed there, and somebody changed the image of Deployment/shop/web" {
		t.Errorf("%q, %q", digest, missing)
	}
}

// A digest that git writes is promoted when it was healthy in the other environment.
func TestPromotionByDigest(t *testing.T) {
	since := now.Add(-time.Hour)
	for digest, want := range map[string]string{byDigest[3:]: "", "sha256:e": byDigest + " was never deployed and healthy there"} {
		d := deciding(v1alpha1.Pin, v1alpha1.KeepPins{})
		d.desired.Rendered.Refs = []image.Reference{{Value: byDigest, Form: image.Digest}}
		d.promotion = &promotion{from: "staging", now: now, ready: &since, history: []v1alpha1.Deployment{deployedAgo(record.Applied, digest, 90, 80)}}
		ask, waiting := d.sort()
		if len(ask) > 0 || strings.Join(waiting, "; ") != want || (d.recorded[target.PinKey{Reference: byDigest}].PromotedFrom == "staging") != (want == "") {
			t.Errorf("%s: asks %v, waits for %v", digest, ask, waiting)
		}
	}
}
