package manifest

import (
	"fmt"
	"strings"
	"testing"
)

func TestCredentialsAreMaskedWhereverTheyStand(t *testing.T) {
	const canary = "canary-51c7"
	for name, text := range map[string]string{
		"a key of a ConfigMap":      "kind: ConfigMap\ndata: {DB_PASSWORD: " + canary + "}",
		"a URL with a password":     "kind: ConfigMap\ndata: {database: 'postgresql://airflow:" + canary + "@db:5432/airflow'}",
		"a properties file":         "kind: ConfigMap\ndata: {spark.conf: \"a=b\\nfs.s3a.secret.key=" + canary + "\"}",
		"an ini file":               "kind: ConfigMap\ndata: {airflow.cfg: \"[api]\\nauth_key = " + canary + "\"}",
		"an environment variable":   "spec: {containers: [{name: a, env: [{name: API_TOKEN, value: " + canary + "}]}]}",
		"a whole container":         "spec: {l: {env: [{name: a, value: b}, {name: AWS_SECRET_ACCESS_KEY, value: " + canary + "}]}}",
		"a map of variables":        "spec: {driver: {envVars: {SNOWFLAKE_PWD: " + canary + "}}}",
		"a Spark setting":           "spec: {sparkConf: {spark.hadoop.fs.s3a.secret.key: " + canary + "}}",
		"an argument":               "spec: {args: [--password=" + canary + "]}",
		"an annotation":             "metadata: {annotations: {example.com/api-key: " + canary + "}}",
		"another tool's manifest":   "metadata: {annotations: {objectset.rio.cattle.io/applied: " + canary + "}}",
		"a template's last applied": "spec: {template: {metadata: {annotations: {kubectl.kubernetes.io/last-applied-configuration: " + canary + "}}}}",
		"a private key":             "kind: ConfigMap\ndata: {ca.pem: \"-----BEGIN RSA PRIVATE KEY-----\\n" + canary + "\"}",
		"a field of a custom kind":  "spec: {credentials: {password: " + canary + "}}",
		"a list of tokens":          "spec: {tokens: [" + canary + "]}",
		"a workflow's parameter":    "spec: {arguments: {parameters: [{name: db-password, value: " + canary + "}]}}",
	} {
		t.Run(name, func(t *testing.T) {
			full := obj(t, text)
			empty := obj(t, "metadata: {}")
			changed := obj(t, strings.ReplaceAll(text, canary, canary+"-two"))
			for _, changes := range [][]FieldChange{Diff(full, empty, nil), Diff(empty, full, []byte("salt")), Diff(full, changed, []byte("salt"))} {
				if shown := fmt.Sprint(changes); len(changes) == 0 || strings.Contains(shown, canary) || !strings.Contains(shown, "(masked") {
					t.Errorf("got %v", changes)
				}
			}
			if changes := Diff(full, changed, []byte("salt")); changes[0].From == changes[0].To {
				t.Errorf("the two values cannot be told apart: %v", changes)
			}
			if got := Redact(full, "invalid value: "+canary); strings.Contains(text, "{"+canary) && strings.Contains(got, canary) {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestWhatOnlySpeaksOfACredentialIsShown(t *testing.T) {
	for _, text := range []string{
		"kind: ConfigMap\ndata: {PASSWORD_FILE: x1}",
		"kind: ConfigMap\ndata: {tokenPath: x1}",
		"kind: ConfigMap\ndata: {spark.hadoop.fs.s3a.aws.credentials.provider: x1}",
		"spec: {tls: [{secretName: x1}]}",
		"spec: {imagePullSecrets: [{name: x1}]}",
		"spec: {volumes: [{name: a, secret: {secretName: x1}}]}",
		"spec: {env: [{name: DB_PASSWORD, valueFrom: {secretKeyRef: {name: x1, key: x1}}}]}",
		"spec: {automountServiceAccountToken: false}",
		"spec: {schedule: '*/5 * * * *'}",
		"kind: ConfigMap\ndata: {url: 'https://example.com:8443/a@b'}",
		"kind: ConfigMap\ndata: {conf: 'password=${DB_PASSWORD}'}",
		"spec: {image: 'registry.example.com:5000/secrets/app:v1@sha256:abc'}",
	} {
		changes := Diff(obj(t, "metadata: {}"), obj(t, text), []byte("salt"))
		if shown := fmt.Sprint(changes); len(changes) == 0 || strings.Contains(shown, "masked") {
			t.Errorf("%s: %v", text, shown)
		}
	}
}

func TestOneSecretInTwoFieldsDoesNotShowAsOne(t *testing.T) {
	full := obj(t, "kind: ConfigMap\ndata: {A_PASSWORD: same, B_PASSWORD: same}")
	changes := Diff(obj(t, "kind: ConfigMap\ndata: {}"), full, []byte("salt"))
	if len(changes) != 2 || changes[0].To == changes[1].To {
		t.Errorf("got %v", changes)
	}
	if again := Diff(obj(t, "kind: ConfigMap\ndata: {}"), full, []byte("salt")); again[0].To != changes[0].To {
		t.Errorf("the hash of a value is not stable: %v, %v", changes[0].To, again[0].To)
	}
	if other := Diff(obj(t, "kind: ConfigMap\ndata: {}"), full, []byte("another")); other[0].To == changes[0].To {
		t.Errorf("the salt makes no difference: %v", changes[0].To)
	}
}

func TestAnErrorShowsNoPasswordOfALongerText(t *testing.T) {
	const quoted = `bad value "--from https://etl:canary-51c7@example.com/x"; see https://example.com/help`
	if got, want := Redact(obj(t, "kind: ConfigMap"), quoted), `bad value "--from https://etl:(masked)@example.com/x"; see https://example.com/help`; got != want {
		t.Errorf("got %s", got)
	}
}
