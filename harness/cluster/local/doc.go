// Package local is the environment in which every node of a cluster is a process of this machine,
// on loopback, without Docker.
//
// A node has a directory of its own, a process group of its own, and addresses that it keeps for
// its life. What a node starts belongs to it: its whole group is killed with it, and Stop also
// finds processes that left the group, by a setting in their environment.
//
// Nothing is left behind. Stop works at any time, also while Start is half done. When this process
// dies without it (SIGKILL, a panic), Linux kills the nodes with it; their directories carry an
// owner, from which Clean tells that nobody needs them.
//
// The package shapes no network, cuts no power and breaks no disks: its Cluster has none of these
// abilities, so that such faults are refused before a run. It knows no system: harness/target
// describes what it starts. Windows lacks the signals that it is made of, and New says so there.
package local
