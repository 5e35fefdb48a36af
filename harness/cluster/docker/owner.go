package docker

import (
	"fmt"
	"maps"
	"os"
	"strconv"
	"strings"
)

// Labels of everything that this package creates.
const (
	// Label marks a container, network, volume or image as assay's.
	Label = "assay"
	// LabelRun holds the run's ID.
	LabelRun = "assay.run"
	// LabelNode holds the node's ID, on containers and volumes.
	LabelNode = "assay.node"
	// LabelOwner holds the process that must remove the thing, as owner.String spells it.
	LabelOwner = "assay.owner"
)

// owner identifies a process so well that another one with the same number is not taken for it.
type owner struct {
	host  string // machine
	boot  string // this boot of it; "" where unknown
	space string // PID namespace; "" where there are none
	pid   int
	start string // when the process started, in the system's own unit; "" where unknown
}

// self is the owner that this process is.
func self() owner {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	pid := os.Getpid()
	return owner{host: strings.ReplaceAll(host, "/", "_"), boot: bootID(), space: pidSpace(), pid: pid, start: processStart(pid)}
}

// String is the form kept in LabelOwner.
func (o owner) String() string {
	return strings.Join([]string{o.host, o.boot, o.space, strconv.Itoa(o.pid), o.start}, "/")
}

func parseOwner(s string) (owner, error) {
	parts := strings.Split(s, "/")
	if len(parts) != 5 {
		return owner{}, fmt.Errorf("owner %q has %d parts, want 5", s, len(parts))
	}
	pid, err := strconv.Atoi(parts[3])
	if err != nil || pid <= 0 {
		return owner{}, fmt.Errorf("owner %q names no process", s)
	}
	return owner{host: parts[0], boot: parts[1], space: parts[2], pid: pid, start: parts[4]}, nil
}

// fate says what is known of an owner.
type fate uint8

const (
	unknown fate = iota // it lives, or lived, where this process cannot look
	alive
	dead
)

// fate looks o up from a process that is me.
func (o owner) fate(me owner) fate {
	switch {
	case o.host != me.host:
		return unknown
	case o.boot != me.boot:
		return dead // the machine was started anew since
	case o.space != me.space:
		return unknown
	case processAlive(o.pid) && processStart(o.pid) == o.start:
		return alive
	default:
		return dead
	}
}

// labels returns the labels of a thing of one run, with more added.
func labels(runID string, more map[string]string) map[string]string {
	all := map[string]string{Label: "1", LabelRun: runID, LabelOwner: self().String()}
	maps.Copy(all, more)
	return all
}
