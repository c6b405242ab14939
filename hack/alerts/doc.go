// Package alerts holds tests alone; see alerts_test.go.
package alerts
