// Package guide has the tests of the pages docs/new-*.md and docs/architecture.md. The packages
// below it are the pages' examples.
package guide
