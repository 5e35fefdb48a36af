// Command outside is assay with the parts of this module. Called with "logserver ADDRESS BUG" it is
// the server.
package main

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/assay-project/assay/cli"

	"example.com/outside/logserver"
	"example.com/outside/parts"
)

func main() {
	if len(os.Args) == 4 && os.Args[1] == "logserver" {
		if err := serve(os.Args[2], os.Args[3] == "true"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	cli.Main(parts.Catalog(""))
}

// serve is a server with its log in the working directory, until SIGTERM.
func serve(address string, bug bool) error {
	f, err := os.OpenFile("log", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	s, err := logserver.Start(file{f}, l, bug)
	if err != nil {
		return err
	}
	terms := make(chan os.Signal, 1)
	signal.Notify(terms, syscall.SIGTERM, os.Interrupt)
	select {
	case <-terms:
		return s.Stop()
	case <-s.Failed():
		return fmt.Errorf("the disk has failed: %s", s.Failure())
	}
}

// file is a file of this machine.
type file struct{ *os.File }

// Size implements logserver.File.
func (f file) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
