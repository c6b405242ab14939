// package access asks an API server for rights: those of the user of a token, and those of the account that deploys.
package access

import (
	"context"
	"fmt"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/pkg/cluster"
)

// Attributes describe one action of a user, as the API server's authorization has it: a verb on a kind of object in a
// namespace, or on a path that is no object.
type Attributes struct {
	Verb, Group, Resource, Namespace string
	// Path is one such as /metrics; with it only the verb counts.
	Path string
}

// reviewTimeout bounds the two questions about one token.
const reviewTimeout = 10 * time.Second

// Allowed asks the API server for the user of a token, and whether that user may do something. An empty user: the API
// server does not know the token. The error says that the API server could not be asked, and never holds the token.
func Allowed(ctx context.Context, c *cluster.Cluster, token string, what Attributes) (user string, allowed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, reviewTimeout)
	defer cancel()
	who := &authenticationv1.TokenReview{
		TypeMeta: metav1.TypeMeta{APIVersion: authenticationv1.SchemeGroupVersion.String(), Kind: "TokenReview"},
		Spec:     authenticationv1.TokenReviewSpec{Token: token},
	}
	if err := review(ctx, c, authenticationv1.SchemeGroupVersion.WithResource("tokenreviews"), who); err != nil {
		return "", false, fmt.Errorf("asking the API server whose a token is: %w", err)
	}
	known := who.Status.User
	if !who.Status.Authenticated || known.Username == "" {
		return "", false, nil
	}
	may := &authorizationv1.SubjectAccessReview{
		TypeMeta: metav1.TypeMeta{APIVersion: authorizationv1.SchemeGroupVersion.String(), Kind: "SubjectAccessReview"},
		Spec:     authorizationv1.SubjectAccessReviewSpec{User: known.Username, UID: known.UID, Groups: known.Groups, Extra: map[string]authorizationv1.ExtraValue{}},
	}
	for key, values := range known.Extra {
		may.Spec.Extra[key] = authorizationv1.ExtraValue(values)
	}
	if what.Path != "" {
		may.Spec.NonResourceAttributes = &authorizationv1.NonResourceAttributes{Verb: what.Verb, Path: what.Path}
	} else {
		may.Spec.ResourceAttributes = &authorizationv1.ResourceAttributes{Verb: what.Verb, Group: what.Group, Resource: what.Resource, Namespace: what.Namespace}
	}
	if err := review(ctx, c, authorizationv1.SchemeGroupVersion.WithResource("subjectaccessreviews"), may); err != nil {
		return "", false, fmt.Errorf("asking the API server what %s may do: %w", known.Username, err)
	}
	return known.Username, may.Status.Allowed && !may.Status.Denied, nil
}

// review posts a review, as syncer itself, and reads the answer into it.
func review(ctx context.Context, c *cluster.Cluster, resource schema.GroupVersionResource, review any) error {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(review)
	if err != nil {
		return err
	}
	answer, err := c.Server().Ask(ctx, resource, &unstructured.Unstructured{Object: content})
	if err != nil {
		return err
	}
	return runtime.DefaultUnstructuredConverter.FromUnstructured(answer.Object, review)
}
