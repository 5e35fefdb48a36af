// Package archtest holds the rules of the code base that no compiler checks: who may import whom, and that no lock is held across a
// wait in code that runs in a synctest bubble. It has tests only.
package archtest
