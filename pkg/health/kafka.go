package health

import "k8s.io/apimachinery/pkg/runtime/schema"

// kafkaKinds are those of Strimzi. Its operator builds an image and pushes it before it runs KafkaConnect.
var kafkaKinds = []Kind{{
	GVK:    schema.GroupVersionKind{Group: "kafka.strimzi.io", Version: "v1beta2", Kind: "KafkaConnect"},
	images: images{fields: []string{"spec.image"}, pushed: "spec.build.output.image"},
}}
