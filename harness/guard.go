package harness

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// Guard turns a panic into an error with its stack, joined to *err. It is deferred itself, by whatever must not take the process with it: a
// process that a panic ends heals and stops nothing. what is who panicked, "the nemesis".
func Guard(what string, err *error) {
	if p := recover(); p != nil {
		*err = errors.Join(*err, fmt.Errorf("%s panicked: %v\n%s", what, p, debug.Stack()))
	}
}
