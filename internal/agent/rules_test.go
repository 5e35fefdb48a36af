package agent

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func peer() netip.Addr { return netip.AddrFrom4([4]byte{10, 1, 2, 3}) }

func TestRuleSetSurvivesEncoding(t *testing.T) {
	set := RuleSet{Rules: []Rule{
		{ID: "s1", Dir: In, Peer: peer(), Drop: true},
		{ID: "s2", Dir: In, Peer: peer(), Loss: 0.25},
		{ID: "s3", Dir: Out, Peer: peer(), DelayMin: 20 * time.Millisecond, DelayMax: 100 * time.Millisecond},
	}}
	data, err := set.Encode()
	require.NoError(t, err)
	got, err := Decode(bytes.NewReader(data))
	require.NoError(t, err)
	require.Equal(t, set, got)
	require.True(t, got.HasDelays())
}

func TestDecodeRefuses(t *testing.T) {
	for name, input := range map[string]string{
		"nothing":             ``,
		"other JSON":          `[]`,
		"trailing data":       `{"rules":[]} x`,
		"unknown field":       `{"rules":[],"more":1}`,
		"no id":               `{"rules":[{"dir":"in","peer":"10.0.0.1","drop":true}]}`,
		"long id":             `{"rules":[{"id":"` + strings.Repeat("x", 65) + `","dir":"in","peer":"10.0.0.1","drop":true}]}`,
		"direction":           `{"rules":[{"id":"a","dir":"up","peer":"10.0.0.1","drop":true}]}`,
		"no peer":             `{"rules":[{"id":"a","dir":"in","drop":true}]}`,
		"IPv6":                `{"rules":[{"id":"a","dir":"in","peer":"::1","drop":true}]}`,
		"loss over one":       `{"rules":[{"id":"a","dir":"in","peer":"10.0.0.1","loss":1.5}]}`,
		"negative loss":       `{"rules":[{"id":"a","dir":"in","peer":"10.0.0.1","loss":-1}]}`,
		"delay on the way in": `{"rules":[{"id":"a","dir":"in","peer":"10.0.0.1","delay_max_ns":5}]}`,
		"delay upside down":   `{"rules":[{"id":"a","dir":"out","peer":"10.0.0.1","delay_min_ns":9,"delay_max_ns":5}]}`,
		"delay too long":      `{"rules":[{"id":"a","dir":"out","peer":"10.0.0.1","delay_max_ns":60000000001}]}`,
		"no effect":           `{"rules":[{"id":"a","dir":"in","peer":"10.0.0.1"}]}`,
		"too large":           `{"rules":[]}` + strings.Repeat(" ", maxEncoded),
		"too many":            `{"rules":[` + strings.Repeat(`{},`, maxRules) + `{}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Decode(strings.NewReader(input))
			require.Error(t, err)
		})
	}
}

func TestDelaysAreDistinct(t *testing.T) {
	other := netip.AddrFrom4([4]byte{10, 1, 2, 4})
	slow := Rule{ID: "s1", Dir: Out, Peer: peer(), DelayMin: 1, DelayMax: 2}
	same := slow
	same.Peer = other
	longer := slow
	longer.DelayMax = 3
	dropped := slow
	dropped.ID, dropped.Drop = "s2", true
	set := RuleSet{Rules: []Rule{slow, same, longer, dropped}}
	require.Equal(t, []delay{{"s1", 1, 2}, {"s1", 1, 3}}, set.delays())
}

// FuzzDecode: whatever is decoded is valid, and its encoding decodes to the same.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"rules":[{"id":"a","dir":"in","peer":"10.0.0.1","drop":true}]}`))
	f.Add([]byte(`{"rules":[{"id":"a","dir":"out","peer":"10.0.0.1","loss":0.5,"delay_min_ns":1,"delay_max_ns":2}]}`))
	f.Add([]byte(`{"rules":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		set, err := Decode(bytes.NewReader(data))
		if err != nil {
			return
		}
		require.NoError(t, set.Validate())
		again, err := set.Encode()
		require.NoError(t, err)
		got, err := Decode(bytes.NewReader(again))
		require.NoError(t, err)
		require.Equal(t, set, got)
	})
}
