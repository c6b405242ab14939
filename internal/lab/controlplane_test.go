package lab

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	controlPlaneBin = "../../bin/controlplane"
	registryBin     = "../../bin/registry"
)

// start gives a test a deadline for everything it waits for.
func start(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// stopped ends a part and holds that it leaves no child of this test's dir behind.
func stopped(t *testing.T, dir string, stop func() error) {
	t.Helper()
	began := time.Now()
	if err := stop(); err != nil {
		t.Errorf("stopping: %v", err)
	}
	t.Logf("stopped in %s", time.Since(began).Round(time.Millisecond))
	for _, left := range commandsNaming(t, dir) {
		t.Errorf("still running: %s", left)
	}
}

// commandsNaming returns the command lines of running processes that name dir.
func commandsNaming(t *testing.T, dir string) (found []string) {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range lines {
		line, err := os.ReadFile(path)
		if err != nil {
			continue // ended since the listing
		}
		if strings.Contains(string(line), dir) {
			found = append(found, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}

func TestAPIServerAlone(t *testing.T) {
	ctx, dir := start(t), t.TempDir()
	audit := filepath.Join(dir, "audit.log")
	began := time.Now()
	plane, err := StartControlPlane(ctx, ControlPlaneOptions{Bin: controlPlaneBin, Dir: dir, AuditLog: audit})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("started in %s", time.Since(began).Round(time.Millisecond))
	t.Cleanup(func() { stopped(t, dir, plane.Stop) })

	t.Run("answers its version to the kubeconfig", func(t *testing.T) {
		client := clientFor(t, plane.Kubeconfig)
		version, err := client.Discovery().ServerVersion()
		if err != nil {
			t.Fatal(err)
		}
		if version.GitVersion != "v1.36.3" {
			t.Errorf("API server says %s", version.GitVersion)
		}
	})

	t.Run("refuses a user without permissions", func(t *testing.T) {
		kubeconfig, err := plane.AddUser("nobody", "team-a")
		if err != nil {
			t.Fatal(err)
		}
		_, err = clientFor(t, kubeconfig).CoreV1().Secrets("default").List(ctx, metav1.ListOptions{})
		if !apierrors.IsForbidden(err) {
			t.Errorf("listing Secrets: %v", err)
		}
	})

	t.Run("logs requests with their user agent", func(t *testing.T) {
		config := plane.Config()
		config.UserAgent = "lab-test"
		client, err := kubernetes.NewForConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		settings := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "settings"}}
		if _, err := client.CoreV1().ConfigMaps("default").Create(ctx, settings, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		eventually(t, ctx, "one create by lab-test", func() (bool, error) {
			events, err := ReadAudit(audit)
			count := 0
			for _, e := range events {
				if e.UserAgent == "lab-test" && e.Verb == "create" && e.Object.Name == "settings" && e.Response.Code == 201 {
					count++
				}
			}
			return count == 1, err
		})
	})

	t.Run("does not wait for open watches when stopped", func(t *testing.T) {
		watch, err := clientFor(t, plane.Kubeconfig).CoreV1().Pods("").Watch(ctx, metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(watch.Stop)
		stopped(t, dir, plane.Stop)
	})

	t.Run("starts empty in a folder that was used", func(t *testing.T) {
		plane, err := StartControlPlane(ctx, ControlPlaneOptions{Bin: controlPlaneBin, Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { stopped(t, dir, plane.Stop) })
		_, err = clientFor(t, plane.Kubeconfig).CoreV1().ConfigMaps("default").Get(ctx, "settings", metav1.GetOptions{})
		if !apierrors.IsNotFound(err) {
			t.Errorf("an object of the earlier control plane: %v", err)
		}
	})
}

func TestCluster(t *testing.T) {
	ctx, dir := start(t), t.TempDir()
	began := time.Now()
	plane, err := StartControlPlane(ctx, ControlPlaneOptions{
		Bin: controlPlaneBin, Dir: dir, Controllers: true, Nodes: 2, Spark: true, Log: t.Output(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("started in %s", time.Since(began).Round(time.Millisecond))
	t.Cleanup(func() { stopped(t, dir, plane.Stop) })
	client := clientFor(t, plane.Kubeconfig)
	dyn, err := dynamic.NewForConfig(plane.Config())
	if err != nil {
		t.Fatal(err)
	}

	t.Run("jobs", func(t *testing.T) {
		t.Parallel()
		namespace := newNamespace(t, ctx, client)
		createJob(t, ctx, client, namespace, "good", nil)
		createJob(t, ctx, client, namespace, "bad", map[string]string{"lab.syncer.dev/outcome": "failed", "lab.syncer.dev/run-seconds": "1"})
		eventually(t, ctx, "both jobs to end", func() (bool, error) {
			good, err := client.BatchV1().Jobs(namespace).Get(ctx, "good", metav1.GetOptions{})
			if err != nil {
				return false, err
			}
			bad, err := client.BatchV1().Jobs(namespace).Get(ctx, "bad", metav1.GetOptions{})
			return good.Status.Succeeded == 1 && good.Status.CompletionTime != nil && bad.Status.Failed == 1, err
		})
		foreground := metav1.DeletePropagationForeground
		if err := client.BatchV1().Jobs(namespace).Delete(ctx, "good", metav1.DeleteOptions{PropagationPolicy: &foreground}); err != nil {
			t.Fatal(err)
		}
		eventually(t, ctx, "the job to be gone with its pod", func() (bool, error) {
			pods, err := client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "job-name=good"})
			if err != nil {
				return false, err
			}
			_, err = client.BatchV1().Jobs(namespace).Get(ctx, "good", metav1.GetOptions{})
			return len(pods.Items) == 0 && apierrors.IsNotFound(err), ignoreNotFound(err)
		})
		if err := client.CoreV1().Namespaces().Delete(ctx, namespace, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		eventually(t, ctx, "the namespace to be gone", func() (bool, error) {
			_, err := client.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{})
			return apierrors.IsNotFound(err), ignoreNotFound(err)
		})
	})

	t.Run("claims", func(t *testing.T) {
		t.Parallel()
		namespace, class := newNamespace(t, ctx, client), "gp3"
		claims := client.CoreV1().PersistentVolumeClaims(namespace)
		_, err := claims.Create(ctx, &corev1.PersistentVolumeClaim{
			ObjectMeta: metav1.ObjectMeta{Name: "scratch"},
			Spec: corev1.PersistentVolumeClaimSpec{
				StorageClassName: &class,
				AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
				Resources: corev1.VolumeResourceRequirements{
					Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("5Gi")},
				},
			},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, ctx, "the claim to be bound", func() (bool, error) {
			claim, err := claims.Get(ctx, "scratch", metav1.GetOptions{})
			return claim.Status.Phase == corev1.ClaimBound, err
		})
		if err := claims.Delete(ctx, "scratch", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		eventually(t, ctx, "the volume to be gone", func() (bool, error) {
			volumes, err := client.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
			return len(volumes.Items) == 0, err
		})
	})

	t.Run("service account tokens", func(t *testing.T) {
		t.Parallel()
		namespace := newNamespace(t, ctx, client)
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "web"},
			Spec: corev1.PodSpec{
				InitContainers: []corev1.Container{{Name: "init", Image: "init:1"}},
				Containers:     []corev1.Container{{Name: "web", Image: "web:1"}},
			},
		}
		eventually(t, ctx, "the pod to be admitted", func() (bool, error) {
			_, err := client.CoreV1().Pods(namespace).Create(ctx, pod, metav1.CreateOptions{})
			return err == nil, nil // refused until the service account is there
		})
		eventually(t, ctx, "the pod to run", func() (bool, error) {
			pod, err := client.CoreV1().Pods(namespace).Get(ctx, "web", metav1.GetOptions{})
			return pod.Status.Phase == corev1.PodRunning && pod.Spec.ServiceAccountName == "default", err
		})
	})

	t.Run("spark", func(t *testing.T) {
		t.Parallel()
		namespace := newNamespace(t, ctx, client)
		apps := dyn.Resource(sparkApplications).Namespace(namespace)
		for name, annotations := range map[string]map[string]string{
			"good": {"lab.syncer.dev/run-seconds": "2"},
			"bad":  {"lab.syncer.dev/run-seconds": "1", "lab.syncer.dev/outcome": "failed"},
		} {
			_, err := apps.Create(ctx, sparkApplication(name, annotations), metav1.CreateOptions{FieldValidation: "Strict"})
			if err != nil {
				t.Fatal(err)
			}
		}

		for _, state := range []string{"SUBMITTED", "RUNNING", "COMPLETED"} {
			eventually(t, ctx, "good to be "+state, func() (bool, error) { return inState(ctx, apps, "good", state) })
		}
		eventually(t, ctx, "bad to be FAILED", func() (bool, error) { return inState(ctx, apps, "bad", "FAILED") })

		bad, err := apps.Get(ctx, "bad", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if message, _, _ := unstructured.NestedString(bad.Object, "status", "applicationState", "errorMessage"); message == "" {
			t.Errorf("bad failed without saying why: %v", bad.Object["status"])
		}
		good, err := apps.Get(ctx, "good", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if pod, _, _ := unstructured.NestedString(good.Object, "status", "driverInfo", "podName"); pod != "good-driver" {
			t.Errorf("driver pod is %q in %v", pod, good.Object["status"])
		}

		patch := []byte(`{"spec":{"image":"spark:2"}}`)
		if _, err := apps.Patch(ctx, "good", "application/merge-patch+json", patch, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		eventually(t, ctx, "a changed application to run again", func() (bool, error) { return inState(ctx, apps, "good", "RUNNING") })

		expiring := sparkApplication("expiring", map[string]string{"lab.syncer.dev/run-seconds": "1"})
		expiring.Object["spec"].(map[string]any)["timeToLiveSeconds"] = int64(1)
		if _, err := apps.Create(ctx, expiring, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		eventually(t, ctx, "the application to outlive its time", func() (bool, error) {
			_, err := apps.Get(ctx, "expiring", metav1.GetOptions{})
			return apierrors.IsNotFound(err), ignoreNotFound(err)
		})

		scheduled := dyn.Resource(sparkApplications.GroupVersion().WithResource("scheduledsparkapplications")).Namespace(namespace)
		schedule := sparkApplication("nightly", nil)
		schedule.SetKind("ScheduledSparkApplication")
		schedule.Object["spec"] = map[string]any{"schedule": "0 3 * * *", "template": schedule.Object["spec"]}
		if _, err := scheduled.Create(ctx, schedule, metav1.CreateOptions{FieldValidation: "Strict"}); err != nil {
			t.Fatal(err)
		}
		eventually(t, ctx, "the schedule to be accepted", func() (bool, error) {
			schedule, err := scheduled.Get(ctx, "nightly", metav1.GetOptions{})
			if err != nil {
				return false, err
			}
			state, _, err := unstructured.NestedString(schedule.Object, "status", "scheduleState")
			return state == "Scheduled", err
		})
	})
}

func TestControlPlaneWithoutBinaries(t *testing.T) {
	_, err := StartControlPlane(start(t), ControlPlaneOptions{Bin: t.TempDir(), Dir: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "make controlplane") {
		t.Errorf("the error does not name `make controlplane`: %v", err)
	}
}

var sparkApplications = schema.GroupVersionResource{Group: "sparkoperator.k8s.io", Version: "v1beta2", Resource: "sparkapplications"}

func sparkApplication(name string, annotations map[string]string) *unstructured.Unstructured {
	app := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "sparkoperator.k8s.io/v1beta2",
		"kind":       "SparkApplication",
		"spec": map[string]any{
			"type":                "Python",
			"mode":                "cluster",
			"sparkVersion":        "4.0.0",
			"image":               "spark:1",
			"mainApplicationFile": "local:///app/main.py",
			"driver":              map[string]any{"cores": int64(1), "tolerations": []any{map[string]any{"operator": "Exists"}}},
			"executor":            map[string]any{"instances": int64(2), "memory": "2g"},
		},
	}}
	app.SetName(name)
	app.SetAnnotations(annotations)
	return app
}

func inState(ctx context.Context, apps dynamic.ResourceInterface, name, state string) (bool, error) {
	app, err := apps.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return false, err
	}
	got, _, err := unstructured.NestedString(app.Object, "status", "applicationState", "state")
	return got == state, err
}

func createJob(t *testing.T, ctx context.Context, client kubernetes.Interface, namespace, name string, annotations map[string]string) {
	t.Helper()
	none := int32(0)
	job := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: batchv1.JobSpec{
			BackoffLimit: &none,
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Annotations: annotations},
				Spec: corev1.PodSpec{
					RestartPolicy: corev1.RestartPolicyNever,
					Containers:    []corev1.Container{{Name: "main", Image: "backfill:1"}},
				},
			},
		},
	}
	if _, err := client.BatchV1().Jobs(namespace).Create(ctx, job, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func newNamespace(t *testing.T, ctx context.Context, client kubernetes.Interface) string {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "lab-"}}
	namespace, err := client.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return namespace.Name
}

func clientFor(t *testing.T, kubeconfig string) kubernetes.Interface {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// eventually polls until done, and fails the test at the first error or when ctx ends.
func eventually(t *testing.T, ctx context.Context, what string, done func() (bool, error)) {
	t.Helper()
	var broken error
	err := until(ctx, func(context.Context) error {
		ok, err := done()
		if broken = err; err != nil || ok {
			return nil
		}
		return errNotYet
	}, nil)
	if err = errors.Join(err, broken); err != nil {
		t.Fatalf("waiting for %s: %v", what, err)
	}
}

var errNotYet = errors.New("not yet")

func ignoreNotFound(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
