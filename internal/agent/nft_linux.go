package agent

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"golang.org/x/sys/unix"
)

// tableName is the one table that the agent owns. Nothing else in the container's network is touched.
const tableName = "assay"

// lossScale is the resolution of Rule.Loss.
const lossScale = 1_000_000

// queueKind is the way in which the kernel hands packets to the delay process.
type queueKind uint8

const (
	nftQueue     queueKind = iota // nftables' own expression (CONFIG_NFT_QUEUE)
	xtablesQueue                  // the iptables target, through nft_compat; for kernels without the former
)

// program replaces the agent's table in one transaction: at no time do only some of the rules hold. queues names the queue of each delay.
func program(set RuleSet, queues map[delay]uint16) error {
	err := programWith(nftQueue, set, queues)
	if err == nil || len(queues) == 0 {
		return wrapProgram(err)
	}
	return wrapProgram(programWith(xtablesQueue, set, queues))
}

func wrapProgram(err error) error {
	if err != nil {
		return fmt.Errorf("program nftables (the container needs CAP_NET_ADMIN, the kernel nf_tables with numgen, and NFQUEUE for delays): %w", err)
	}
	return nil
}

func programWith(kind queueKind, set RuleSet, queues map[delay]uint16) error {
	conn, err := nftables.New()
	if err != nil {
		return err
	}
	table := &nftables.Table{Name: tableName, Family: nftables.TableFamilyIPv4}
	conn.AddTable(table) // so that there is one to delete
	conn.DelTable(table)
	if len(set.Rules) == 0 {
		return conn.Flush()
	}
	conn.AddTable(table)
	p := programmer{conn: conn, table: table, kind: kind, delayChains: make(map[string]*nftables.Chain)}
	p.in = p.chain("in", nftables.ChainHookInput, 0)
	p.out = p.chain("out", nftables.ChainHookOutput, 0)
	for _, r := range set.Rules {
		p.add(r, queues)
	}
	return conn.Flush()
}

// programmer builds the chains of one transaction.
type programmer struct {
	conn        *nftables.Conn
	table       *nftables.Table
	kind        queueKind
	in, out     *nftables.Chain
	delayChains map[string]*nftables.Chain // by rule ID
}

func (p *programmer) chain(name string, hook *nftables.ChainHook, priority nftables.ChainPriority) *nftables.Chain {
	return p.conn.AddChain(&nftables.Chain{
		Name: name, Table: p.table, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: &priority,
	})
}

func (p *programmer) add(r Rule, queues map[delay]uint16) {
	chain := p.in
	if r.Dir == Out {
		chain = p.out
	}
	if r.Drop {
		p.rule(chain, r, &expr.Counter{}, &expr.Verdict{Kind: expr.VerdictDrop})
		return
	}
	if r.Loss > 0 {
		bound := binary.BigEndian.AppendUint32(nil, uint32(r.Loss*lossScale))
		p.rule(chain, r,
			&expr.Numgen{Register: 1, Modulus: lossScale, Type: unix.NFT_NG_RANDOM},
			// The number is in host order, the comparison is bytewise.
			&expr.Byteorder{SourceRegister: 1, DestRegister: 1, Op: expr.ByteorderHton, Len: 4, Size: 4},
			&expr.Cmp{Op: expr.CmpOpLt, Register: 1, Data: bound},
			&expr.Counter{}, &expr.Verdict{Kind: expr.VerdictDrop})
	}
	if r.DelayMax > 0 {
		p.rule(p.delayChain(r.ID), r, p.queue(queues[delay{r.ID, r.DelayMin, r.DelayMax}]))
	}
}

// delayChain returns the chain of an ID's delays. A packet that the delay process lets go continues with the next chain, so
// that delays of different IDs add up, as they do on a real path.
func (p *programmer) delayChain(id string) *nftables.Chain {
	if c, ok := p.delayChains[id]; ok {
		return c
	}
	n := len(p.delayChains)
	c := p.chain(fmt.Sprintf("delay%d", n), nftables.ChainHookOutput, nftables.ChainPriority(10+n))
	p.delayChains[id] = c
	return c
}

// queue hands a packet to the delay process. The packet goes on at once when that is gone, rather than vanish.
func (p *programmer) queue(number uint16) expr.Any {
	if p.kind == nftQueue {
		return &expr.Queue{Num: number, Total: 1, Flag: expr.QueueFlagBypass}
	}
	// struct xt_NFQ_info_v3 {queuenum, queues_total, flags u16}, padded to 8 bytes; flag 1 is bypass.
	info := make(xt.Unknown, 8)
	binary.NativeEndian.PutUint16(info[0:], number)
	binary.NativeEndian.PutUint16(info[2:], 1)
	binary.NativeEndian.PutUint16(info[4:], 1)
	return &expr.Target{Name: "NFQUEUE", Rev: 3, Info: &info}
}

// rule adds what is done to the packets of r. The rule carries r's ID, under which readDropped finds its counter.
func (p *programmer) rule(chain *nftables.Chain, r Rule, do ...expr.Any) {
	addr := r.Peer.As4()
	offset := uint32(12) // the source address in an IPv4 header
	if r.Dir == Out {
		offset = 16 // the destination address
	}
	match := []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: uint32(netip.IPv4Unspecified().BitLen() / 8)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: addr[:]},
	}
	p.conn.AddRule(&nftables.Rule{Table: p.table, Chain: chain, Exprs: append(match, do...), UserData: []byte(r.ID)})
}

// readDropped sums up the counters of the present rules by ID. Without a table there are none.
func readDropped() (map[string]Counts, error) {
	counts := make(map[string]Counts)
	conn, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("read nftables counters: %w", err)
	}
	chains, err := conn.ListChainsOfTableFamily(nftables.TableFamilyIPv4)
	if err != nil {
		return nil, fmt.Errorf("read nftables counters: list chains: %w", err)
	}
	for _, chain := range chains {
		if chain.Table.Name != tableName {
			continue
		}
		chain.Table.Family = nftables.TableFamilyIPv4
		rules, err := conn.GetRules(chain.Table, chain)
		if err != nil {
			return nil, fmt.Errorf("read nftables counters: chain %s: %w", chain.Name, err)
		}
		for _, r := range rules {
			for _, e := range r.Exprs {
				if counter, ok := e.(*expr.Counter); ok {
					c := counts[string(r.UserData)]
					c.Dropped += int64(counter.Packets)
					counts[string(r.UserData)] = c
				}
			}
		}
	}
	return counts, nil
}
