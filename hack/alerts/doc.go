// Package alerts holds only tests; see alerts_test.go.
package alerts
