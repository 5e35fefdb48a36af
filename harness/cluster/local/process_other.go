//go:build !unix

// What takes the place of Unix signals where there are none.

package local

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// supported says whether this system has what the package is made of. It does not, so that nothing
// below is ever called but ownedByMe.
const supported = false

func killGroup(int) error              { return errors.ErrUnsupported }
func freezeGroup(int) error            { return errors.ErrUnsupported }
func thawGroup(int) error              { return errors.ErrUnsupported }
func terminate(*os.Process) error      { return errors.ErrUnsupported }
func exitOf(*os.ProcessState) exit     { return exit{} }
func ownedByMe(fs.FileInfo) bool       { return false }
func attributes() *syscall.SysProcAttr { return nil }
