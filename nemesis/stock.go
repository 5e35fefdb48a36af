package nemesis

import (
	"slices"

	"github.com/assay-project/assay/histories"
)

// Stock returns the faults of this package. The slice is the caller's.
func Stock() []Kind {
	return slices.Concat(processKinds(), diskKinds(), networkKinds(), operatorKinds())
}

// processKinds are the faults of processes and of the machines that they run on.
func processKinds() []Kind {
	return []Kind{
		{
			Info:  Info{Name: "kill", Kind: Instant, Roles: Roles(), Doc: "end the process with SIGKILL; the page cache stays"},
			Harm:  histories.HarmNone,
			Downs: true,
			Build: newKill,
		},
		{
			Info:  Info{Name: "pause", Kind: Lasting, Roles: Roles(), Doc: "freeze the process"},
			Harm:  histories.HarmNone,
			Downs: true,
			Build: newPause,
		},
		{
			Info:  Info{Name: "power", Kind: Instant, Roles: Roles(), Doc: "cut the power: the process ends, and unsynced bytes and directory entries are lost"},
			Harm:  histories.HarmUnsynced,
			Downs: true,
			Build: newPower,
		},
		{
			Info:     Info{Name: "restart", Kind: Instant, Roles: Roles(), Doc: "end the process with SIGTERM and start it again"},
			Harm:     histories.HarmNone,
			Downs:    true,
			Restarts: true,
			Build:    newRestart,
		},
	}
}

// diskKinds are the faults of disks.
func diskKinds() []Kind {
	return []Kind{
		{
			Info:  Info{Name: "corrupt", Kind: Instant, Roles: Roles(), Doc: "flip a bit of the log, in a closed segment or in the tail"},
			Harm:  histories.HarmBits,
			Build: newCorrupt,
		},
		{
			Info:  Info{Name: "fsync", Kind: Lasting, Roles: Roles(), Doc: "fail every fsync"},
			Harm:  histories.HarmWrites,
			Build: newFsync,
		},
		{
			Info:  Info{Name: "full", Kind: Lasting, Roles: Roles(), Doc: "fill the disk"},
			Harm:  histories.HarmWrites,
			Build: newFull,
		},
		{
			Info:  Info{Name: "wipe", Kind: Instant, Roles: Roles(), Doc: "end the process and delete its disk; a leader's group is promoted before it returns empty"},
			Harm:  histories.HarmDisk,
			Downs: true,
			Build: newWipe,
		},
	}
}

// networkKinds are the faults of links.
func networkKinds() []Kind {
	return []Kind{
		{
			Info:  Info{Name: "loss", Kind: Lasting, Roles: Roles(), Doc: "lose 5 to 20 % of the packets of the node"},
			Harm:  histories.HarmNone,
			Build: newLoss,
		},
		{
			Info: Info{
				Name: "partition", Kind: Lasting, Roles: Roles(),
				Shapes: []string{shapeHalves, shapeAlone, shapeOneway, shapeRing}, Clients: true,
				Doc: "cut links between nodes; with " + withClients + " also those of clients",
			},
			Harm:  histories.HarmNone,
			Build: newPartition,
		},
		{
			Info:  Info{Name: "slow", Kind: Lasting, Roles: Roles(), Doc: "delay each packet of the node by 20 to 100 ms each way"},
			Harm:  histories.HarmNone,
			Build: newSlow,
		},
	}
}

// operatorKinds are what an operator does.
func operatorKinds() []Kind {
	return []Kind{
		{
			Info: Info{
				Name: "promote", Kind: Instant, Roles: []string{roleGreatest, RoleLeader, RoleFollower},
				Doc: "promote as an operator would: the node with the most, the present leader again, or, with force if it must be, a follower",
			},
			Harm:  histories.HarmLeadership,
			Build: newPromote,
		},
	}
}
