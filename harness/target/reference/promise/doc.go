// Package promise holds what each configuration of the reference broker promises: which anomalies
// it does not promise to prevent, and after which events. It is made of options alone and imports
// no code of the broker, so that a broker's mistake cannot excuse itself.
//
// The rules are those of docs/guarantees.md, which a test keeps equal to them.
package promise
