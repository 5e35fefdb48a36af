// Package docker is the environment in which every node of a cluster is a container. It knows no
// system: a target.Target says what runs in the containers, and how clients and an operator reach
// it.
//
// A run has a network with a subnet of its own, in which nodes keep fixed addresses, and one volume
// for each node whose target names a place for its data. Every image has our own program in it:
// `FROM scratch` plus that program, or derived from an image that the target names or whose build
// context it brings. The program (internal/program finds or builds it) is the first process of a
// container; it becomes the node once the rules that are active hold. Run by `docker exec`, it is
// the agent that programs the container's own network (internal/agent). Rules are state that this
// package keeps: what is active is written into a container before it starts, so that a node comes
// back into the split that it left.
//
// Everything that is given a name here carries the labels of labels.go, from which Stop and Clean
// find it. Volumes that an image asks for have no labels; they go with their container. Stop works
// at any time, also while Start is half done. A SIGKILL of this process leaves labelled things
// behind, which only Clean and CleanProcess remove. They go by the owner in the label
// (internal/owner): what belongs to a process that lives, or of which nothing is known, is kept,
// unless Clean is forced. Images belong to no run and no owner: Stop leaves them for the next
// start, and Clean removes all but the newest when it keeps nothing else.
//
// Links between nodes are shaped in the containers; links between a client and a node in the
// client's own connections (link.go), since all clients share the host's address. The package cuts
// no power and breaks no disks.
package docker
