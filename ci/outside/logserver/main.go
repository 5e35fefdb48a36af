package logserver

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/target"
)

// Command is the first argument of a program that is to be a node: see Args and Main.
const Command = "logserver"

// Args are the arguments of a program that is to be the node n, in its working directory.
func Args(n harness.NodeID, cfg Config, addr func(n harness.NodeID, port string) string) []string {
	args := []string{Command, "-node", string(n), "-bug", cfg.Bug}
	for _, node := range cfg.Nodes {
		args = append(args, string(node)+"="+addr(node, Port))
	}
	return args
}

// Main is a node as a process of its own, until SIGTERM or SIGINT. args are those after Command. It
// returns the exit code.
func Main(args []string) int {
	if err := serve(args); err != nil {
		fmt.Fprintln(os.Stderr, "logserver: "+err.Error())
		return 1
	}
	return 0
}

func serve(args []string) error {
	flags := flag.NewFlagSet(Command, flag.ContinueOnError)
	node := flags.String("node", "", "which of the nodes it is")
	bug := flags.String("bug", "", "a planted bug")
	if err := flags.Parse(args); err != nil {
		return err
	}
	cfg, at := Config{Bug: *bug}, make(map[harness.NodeID]string)
	for _, arg := range flags.Args() {
		name, addr, _ := strings.Cut(arg, "=")
		cfg.Nodes = append(cfg.Nodes, harness.NodeID(name))
		at[harness.NodeID(name)] = addr
	}
	disk, err := target.Dir("data")
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	s, err := Start(target.World{
		Node: harness.NodeID(*node), Addr: func(n harness.NodeID, _ string) string { return at[n] },
		FS: disk, Listen: net.Listen, Dial: new(net.Dialer).DialContext,
		Rand: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), Logger: slog.Default(),
	}, cfg)
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return s.Stop(context.Background())
	case <-s.Failed():
		return fmt.Errorf("it has failed: %s", s.Failure())
	}
}
