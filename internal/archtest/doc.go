// Package archtest holds the rules of the code base that no compiler checks: who may import whom, that no lock is held across a wait in
// code that runs in a synctest bubble, that packages have no mutable state, that tests do not sleep, and how many parameters a
// function has. It has tests only.
package archtest
