// Package e2e tests the built binary as its users run it: processes on loopback, real Kafka clients. It has tests only.
package e2e
