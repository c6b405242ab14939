package main

import "testing"

// The targets are spread evenly: each cluster has as many as asked for, and a pipeline is in different clusters.
func TestTargetsAreSpreadOverTheClusters(t *testing.T) {
	s := &scale{real: 3, simulated: 300, each: 10}
	count := map[string]int{}
	for i := range s.pipelines() {
		of := map[string]bool{}
		for _, cluster := range s.places(i) {
			count[cluster]++
			of[cluster] = true
		}
		if len(of) != perPipeline {
			t.Fatalf("pipeline %d is in %v", i, s.places(i))
		}
	}
	if s.targets() != 3030 || len(count) != 303 {
		t.Errorf("%d targets in %d clusters", s.targets(), len(count))
	}
	for cluster, n := range count {
		if n != s.each {
			t.Errorf("%s has %d targets", cluster, n)
		}
	}
}
