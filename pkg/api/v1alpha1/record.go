package v1alpha1

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Condition types of a record. Ready, Reconciling and Stalled follow the rules of kstatus
// (https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md).
const (
	// ConditionReady is True when the newest commit is applied and every object is healthy.
	ConditionReady = "Ready"
	// ConditionReconciling is True while objects become healthy.
	ConditionReconciling = "Reconciling"
	// ConditionStalled is True when syncer cannot go on without a change of git or of the cluster.
	ConditionStalled = "Stalled"
	// ConditionHeld is True when syncer waits before it carries the newest commit out.
	ConditionHeld = "Held"
	// ConditionPromotionPending is True when a reference waits for its deployment in another environment.
	ConditionPromotionPending = "PromotionPending"
	// ConditionTrusted is False while the newest commit is not signed as the environment demands, and an earlier one stays in
	// force. An environment that demands no signatures has no such condition.
	ConditionTrusted = "Trusted"
	// ConditionDrifted is True when the cluster differs from the commit last applied.
	ConditionDrifted = "Drifted"
)

// PipelineSync records, for one pipeline in one environment, what syncer decided and what it saw.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=pipelinesyncs,singular=pipelinesync,shortName=psync,categories=all
// +kubebuilder:subresource:status
// +kubebuilder:metadata:labels="applyset.kubernetes.io/is-parent-type=true"
// +kubebuilder:metadata:labels="app.kubernetes.io/name=syncer"
// +kubebuilder:metadata:labels="app.kubernetes.io/part-of=syncer"
// +kubebuilder:printcolumn:name="Pipeline",type=string,priority=1,JSONPath=`.spec.pipeline`
// +kubebuilder:printcolumn:name="Environment",type=string,priority=1,JSONPath=`.spec.environment`
// +kubebuilder:printcolumn:name="Commit",type=string,JSONPath=`.status.lastAppliedCommit`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Drifted",type=string,JSONPath=`.status.conditions[?(@.type=="Drifted")].status`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type PipelineSync struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec PipelineSyncSpec `json:"spec"`
	// +optional
	Status PipelineSyncStatus `json:"status,omitempty"`
}

// PipelineSyncSpec is what syncer decided. It is written before the first object is applied, so that a crash neither
// loses nor changes a pin.
type PipelineSyncSpec struct {
	// Owner is the name of the configuration that this record belongs to.
	Owner       string       `json:"owner"`
	Pipeline    string       `json:"pipeline"`
	Environment string       `json:"environment"`
	Source      RecordSource `json:"source"`
	// ServiceAccount is the account, NAMESPACE/NAME, as which the objects are read and written; empty: syncer's own. It
	// is kept so that the objects of a pipeline that left git are deleted with the same rights.
	// +optional
	ServiceAccount string `json:"serviceAccount,omitempty"`
	// Images are the pins of this target, those of earlier deployments included.
	// +optional
	// +listType=map
	// +listMapKey=reference
	// +listMapKey=refresh
	// +listMapKey=semver
	Images []PinnedImage `json:"images,omitempty"`
}

// RecordSource is the repository and the commit that the target is taken to.
type RecordSource struct {
	URL    string `json:"url"`
	Commit string `json:"commit"`
}

// PinnedImage is the digest that a reference stands for in this target. It belongs to the reference as git writes it,
// the refresh value and the semver range that pipeline.yaml gives for it: a commit that returns to all three gets the
// digest back.
type PinnedImage struct {
	Reference string `json:"reference"`
	// Refresh is the value under images.refresh in pipeline.yaml; a new one looks the reference up again.
	// +kubebuilder:default=""
	Refresh string `json:"refresh"`
	// Semver is the range under images.select in pipeline.yaml that chose the tag.
	// +kubebuilder:default=""
	Semver string `json:"semver"`
	// Tag is the one that a semver range chose.
	// +optional
	Tag        string      `json:"tag,omitempty"`
	Digest     string      `json:"digest"`
	ResolvedAt metav1.Time `json:"resolvedAt"`
	// Commit by whose deployment the reference was resolved.
	Commit string `json:"commit"`
	// PromotedFrom is the environment whose healthy deployment gave the digest.
	// +optional
	PromotedFrom string `json:"promotedFrom,omitempty"`
	// Seen is the digest that the tag had when it was last looked at under Track; a tag that has another one since has
	// moved. Empty after a rollback, so that the first look deploys nothing.
	// +optional
	Seen string `json:"seen,omitempty"`
	// Moves counts the moves of the tag up to this digest, in the latest run of moves without a pause; 0: the digest is
	// the first one seen.
	// +optional
	Moves int `json:"moves,omitempty"`
	// LastDeployment is the number of the last deployment that used the pin.
	// +optional
	LastDeployment int64 `json:"lastDeployment,omitempty"`
	// UnusedSince is when a deployment first went without the pin.
	// +optional
	UnusedSince *metav1.Time `json:"unusedSince,omitempty"`
}

// PipelineSyncStatus is what syncer saw.
type PipelineSyncStatus struct {
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// LastAppliedCommit is the newest commit whose objects were all applied.
	// +optional
	LastAppliedCommit string `json:"lastAppliedCommit,omitempty"`
	// +optional
	LastAttemptedCommit string `json:"lastAttemptedCommit,omitempty"`
	// Verified is the commit that was last deployed here with a good signature. A syncer that starts anew trusts it and checks
	// what is newer.
	// +optional
	Verified *VerifiedCommit `json:"verified,omitempty"`
	// RemovedAt is when the target left git and its objects were deleted. Its record stays for as long as its pins are
	// kept, so that a revert of the removal is exact.
	// +optional
	RemovedAt *metav1.Time `json:"removedAt,omitempty"`
	// ConfirmedApply is the ID of the last apply whose outcome the inventory tells. While the annotation
	// syncer.dev/applying names another one, that apply was interrupted or is under way: the objects that it lists are
	// compared with the cluster before anything is believed of them.
	// +optional
	ConfirmedApply string `json:"confirmedApply,omitempty"`
	// Inventory lists the objects that this target applied.
	// +optional
	// +listType=atomic
	Inventory []InventoryEntry `json:"inventory,omitempty"`
	// Held lists the first 50 changes that wait, and what for.
	// +optional
	// +listType=atomic
	Held []HeldChange `json:"held,omitempty"`
	// HeldTotal counts all changes that wait where they are more than Held lists; else it is 0.
	// +optional
	HeldTotal int `json:"heldTotal,omitempty"`
	// Contested lists the fields that another manager keeps taking.
	// +optional
	// +listType=atomic
	Contested []Contest `json:"contested,omitempty"`
	// +optional
	Drift *DriftSummary `json:"drift,omitempty"`
	// Warnings names, in a line for each object, values that arrive in another form than they have in git.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=21
	Warnings []string `json:"warnings,omitempty"`
	// Unpinned lists values that look like image references by tag in fields where syncer looks for none.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=20
	Unpinned []UnpinnedValue `json:"unpinned,omitempty"`
	// History lists the last deployments, the newest first, as far as the record has room for them.
	// +optional
	// +listType=atomic
	History []Deployment `json:"history,omitempty"`
}

// VerifiedCommit is a commit of which the signature was checked.
type VerifiedCommit struct {
	Commit string `json:"commit"`
	// Signer is the principal of an SSH key, or the user ID of a PGP key.
	// +optional
	Signer string `json:"signer,omitempty"`
	// Key is the fingerprint of the key.
	// +optional
	Key string `json:"key,omitempty"`
	// At is when the target was first taken to the commit.
	At metav1.Time `json:"at"`
}

// InventoryEntry is one object that this target applied.
type InventoryEntry struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// +optional
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	// Hash of what was applied; empty while the apply is under way. Hashes of Secrets are keyed.
	// +optional
	Hash string `json:"hash,omitempty"`
	// Fields is a hash of the fields that syncer owned after its apply and of their values: any later write to one of
	// them changes it. Hashes of Secrets are keyed.
	// +optional
	Fields string `json:"fields,omitempty"`
	// Written is when the fields of the apply were last written under syncer's name, by the API server's clock.
	// +optional
	Written *metav1.Time `json:"written,omitempty"`
	// Unconfirmed says that a write of the object was begun and that its outcome is not known.
	// +optional
	Unconfirmed bool `json:"unconfirmed,omitempty"`
	// Others are the fields that other managers owned when syncer first applied the object, as it took it over. Fields that
	// others set later are reported as added.
	// +optional
	// +listType=atomic
	Others []string `json:"others,omitempty"`
	// Completed says that the object was seen to have run to its end, so that its absence is not a loss.
	// +optional
	Completed bool `json:"completed,omitempty"`
	// Failed says that it did not end well.
	// +optional
	Failed bool `json:"failed,omitempty"`
	// Ephemeral says that the object removes itself when it has run, as a Job with ttlSecondsAfterFinished does: perhaps
	// before its end is seen.
	// +optional
	Ephemeral bool `json:"ephemeral,omitempty"`
	// Deleted says that an ephemeral object was deleted before its run had ended, by its events.
	// +optional
	Deleted bool `json:"deleted,omitempty"`
	// UID of the object that was applied, by which another object of its name is told from it.
	// +optional
	UID types.UID `json:"uid,omitempty"`
	// Spec is a hash of what git says of the object without its metadata, for an object that runs to completion: when it
	// ran and is gone, a new label does not make it run again.
	// +optional
	Spec string `json:"spec,omitempty"`
	// EndedRun tells the run that the object showed when its spec was changed last. While it still shows that run, its
	// operator has not run it again.
	// +optional
	EndedRun string `json:"endedRun,omitempty"`
	// Skipped is the hash of a change that a run was not to be disturbed for; it is part of the next one.
	// +optional
	Skipped string `json:"skipped,omitempty"`
}

// HeldChange is the change of one object that waits.
type HeldChange struct {
	ObjectReference `json:",inline"`
	// Action is Create, Update, Replace or Prune.
	Action string `json:"action"`
	// Reason is Running, Dependency, InUse, Moved, Unrendered or Terminating.
	Reason  string      `json:"reason"`
	Message string      `json:"message"`
	Since   metav1.Time `json:"since"`
	// Hash of what git says of the object.
	// +optional
	Hash string `json:"hash,omitempty"`
}

// Contest is a field that syncer and another manager set in turn.
type Contest struct {
	Object ObjectReference `json:"object"`
	Path   string          `json:"path"`
	// Manager is the rival.
	Manager string `json:"manager"`
	// Times that syncer took the field back, the last of them at Last.
	Times int         `json:"times"`
	First metav1.Time `json:"first"`
	Last  metav1.Time `json:"last"`
	// Until is when syncer tries again; it leaves the field alone before that.
	// +optional
	Until *metav1.Time `json:"until,omitempty"`
}

// MayBeGone reports whether the object's absence from the cluster is in order: it ran, and is not to run again.
func (e InventoryEntry) MayBeGone() bool { return e.Completed || e.Ephemeral && !e.Deleted }

// DriftSummary says how many findings the last check of this target had, and which were there before.
type DriftSummary struct {
	Total int `json:"total"`
	// Findings are at most 50, the first ones in the report's order, as far as the record has room for them.
	// +optional
	// +listType=atomic
	Findings []Finding `json:"findings,omitempty"`
	// Past are the last 50 findings that are no more, the newest first.
	// +optional
	// +listType=atomic
	Past []PastFinding `json:"past,omitempty"`
}

// Finding is one difference between the cluster and the commit last applied. Values of Secrets and what looks like
// credentials are masked in it, and long values are cut.
type Finding struct {
	Kind     string          `json:"kind"`
	Severity string          `json:"severity"`
	Object   ObjectReference `json:"object"`
	// +optional
	Path string `json:"path,omitempty"`
	// +optional
	Desired *apiextensionsv1.JSON `json:"desired,omitempty"`
	// +optional
	Live *apiextensionsv1.JSON `json:"live,omitempty"`
	// Manager is the client that wrote the live value: a program, and not a person.
	// +optional
	Manager string `json:"manager,omitempty"`
	// +optional
	Operation string `json:"operation,omitempty"`
	// +optional
	Subresource string `json:"subresource,omitempty"`
	// User is the author by the API server's audit log.
	// +optional
	User string `json:"user,omitempty"`
	// Time is when the manager wrote last; of TagMoved and ImageMissing, when it was first seen.
	// +optional
	Time *metav1.Time `json:"time,omitempty"`
	// FirstSeen is when syncer noticed it.
	// +optional
	FirstSeen *metav1.Time `json:"firstSeen,omitempty"`
	// File and Line are where git sets the desired value.
	// +optional
	File string `json:"file,omitempty"`
	// +optional
	Line    int    `json:"line,omitempty"`
	Message string `json:"message"`
}

// PastFinding is a finding that is no more.
type PastFinding struct {
	Finding `json:",inline"`
	EndedAt metav1.Time `json:"endedAt"`
	// Ending is Corrected, where syncer restored what git says, or Gone.
	Ending string `json:"ending"`
}

// UnpinnedValue is a value that looks like an image reference by tag and is not pinned.
type UnpinnedValue struct {
	Object    ObjectReference `json:"object"`
	Path      string          `json:"path"`
	Reference string          `json:"reference"`
	// Nameable says that syncer pins it once the path is named.
	// +optional
	Nameable bool `json:"nameable,omitempty"`
}

// ObjectReference names an object.
type ObjectReference struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// +optional
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

// Deployment is one commit that changed what runs in this target.
type Deployment struct {
	// Number counts this target's deployments from 1.
	Number int64  `json:"number"`
	Commit string `json:"commit"`
	// +optional
	Author string `json:"author,omitempty"`
	// +optional
	Subject string      `json:"subject,omitempty"`
	Time    metav1.Time `json:"time"`
	// Outcome is Applied or Failed.
	Outcome string `json:"outcome"`
	// HealthyAt is when every object of the deployment was first seen healthy. Other environments take digests from
	// healthy deployments only.
	// +optional
	HealthyAt *metav1.Time `json:"healthyAt,omitempty"`
	// UnhealthyAt is since when it is not healthy any more; a deployment that was replaced so is not taken over either.
	// +optional
	UnhealthyAt *metav1.Time `json:"unhealthyAt,omitempty"`
	// RollbackOf is the number of the earlier deployment that this one returns to.
	// +optional
	RollbackOf int64 `json:"rollbackOf,omitempty"`
	// AllowedBy is the author of the commit whose trailer let references through that were never promoted.
	// +optional
	AllowedBy string `json:"allowedBy,omitempty"`
	// Set is a hash of everything that was deployed; equal sets have equal hashes.
	// +optional
	Set string `json:"set,omitempty"`
	// +optional
	// +listType=atomic
	Images []DeployedImage `json:"images,omitempty"`
}

// DeployedImage is an image reference of a deployment and the digest that it ran by.
type DeployedImage struct {
	Reference string `json:"reference"`
	// Tag is the one that a semver range chose.
	// +optional
	Tag    string `json:"tag,omitempty"`
	Digest string `json:"digest"`
}
