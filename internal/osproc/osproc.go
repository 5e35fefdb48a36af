// Package osproc says what the operating system tells of its processes: whether one is alive, when
// it started, whether it stands still, and which ones were started with a given environment.
//
// It changes nothing and sends no signals. What a system does not tell is the zero value, and each
// function says what that means.
package osproc
