package lab

import (
	"context"
	"path/filepath"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// startControllers starts kube-controller-manager, signing service account tokens with the key the API server checks.
func (c *ControlPlane) startControllers() error {
	ca := filepath.Join(c.keys(), "ca.crt")
	if err := writeFile(ca, c.env.Config.CAData, 0o644); err != nil {
		return err
	}
	return c.run("kube-controller-manager",
		"--kubeconfig="+c.Kubeconfig,
		"--service-account-private-key-file="+filepath.Join(c.keys(), "sa-signer.key"),
		"--root-ca-file="+ca,
		"--leader-elect=false",
		"--secure-port=0", // no client asks it for metrics
		"--kube-api-qps=500",
		"--kube-api-burst=1000",
	)
}

// waitForControllers returns when the controllers have given the default namespace its service account.
func (c *ControlPlane) waitForControllers(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(c.Config())
	if err != nil {
		return err
	}
	return c.processes["kube-controller-manager"].until(ctx, func(ctx context.Context) error {
		_, err := client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}
