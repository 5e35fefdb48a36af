package nemesis_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/nemesis"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]nemesis.Spec{
		"kill":                                {Name: "kill", Role: "one"},
		"kill:leader":                         {Name: "kill", Role: "leader"},
		"wipe:majority":                       {Name: "wipe", Role: "majority"},
		"promote":                             {Name: "promote", Role: "greatest"},
		"promote:follower":                    {Name: "promote", Role: "follower"},
		"partition":                           {Name: "partition", Role: "one", Shape: "halves"},
		"partition/ring":                      {Name: "partition", Role: "one", Shape: "ring"},
		"partition:leader/alone":              {Name: "partition", Role: "leader", Shape: "alone"},
		"partition/with-clients":              {Name: "partition", Role: "one", Shape: "halves", WithClients: true},
		"partition:leader/alone/with-clients": {Name: "partition", Role: "leader", Shape: "alone", WithClients: true},
	} {
		got, err := stock(t).Parse(text)
		require.NoError(t, err, text)
		want.Text = text
		require.Equal(t, want, got)
		require.Equal(t, text, got.String())
	}
}

// A fault that does not exist is refused with what there is.
func TestParseRefuses(t *testing.T) {
	for text, says := range map[string]string{
		"":                               "unknown fault \"\": there is corrupt, fsync, full, ",
		"explode":                        `unknown fault "explode"`,
		"transfer":                       "no transfer",
		"Kill":                           "unknown fault",
		"kill:":                          `no role ""`,
		"kill:boss":                      "kill has one, leader, follower, minority, majority, all",
		"promote:one":                    "promote has leader, follower",
		"promote:greatest":               "no role",
		"kill/halves":                    "only partition has",
		"partition/":                     "there is halves, alone, oneway, ring",
		"partition/star":                 `no shape "star"`,
		"partition/alone/halves":         "only with-clients",
		"partition/with-clients/alone":   "only with-clients",
		"partition/alone/with-clients/x": "only with-clients",
		"partition:leader:x":             "no role",
	} {
		_, err := stock(t).Parse(text)
		require.ErrorContains(t, err, says, "%q", text)
	}
}

func TestParseList(t *testing.T) {
	for list, want := range map[string][]string{
		"":                        nil,
		"none":                    nil,
		"kill":                    {"kill"},
		"kill, pause:leader,kill": {"kill", "pause:leader"},
	} {
		got, err := stock(t).ParseList(list)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, list := range []string{"kill,", ",", "kill,none"} {
		_, err := stock(t).ParseList(list)
		require.Error(t, err, list)
	}
}

func FuzzParseList(f *testing.F) {
	f.Add("slow:follower,wipe:leader,promote")
	f.Add("partition:leader/alone/with-clients")
	// Whatever is accepted says itself again, and can be built.
	f.Fuzz(func(t *testing.T, list string) {
		specs, err := stock(t).ParseList(list)
		if err != nil {
			return
		}
		faults, err := stock(t).Faults(specs...)
		require.NoError(t, err)
		for i, fault := range faults {
			require.Equal(t, specs[i], fault.Name())
		}
	})
}

func TestListIsWhatCanBeParsed(t *testing.T) {
	infos := stock(t).Infos()
	require.Len(t, infos, len(nemesis.Stock()))
	for _, info := range infos {
		_, err := stock(t).Parse(info.Name)
		require.NoError(t, err)
		require.NotEmpty(t, info.Doc)
		for _, role := range info.Roles {
			if role != "greatest" {
				_, err := stock(t).Parse(info.Name + ":" + role)
				require.NoError(t, err)
			}
		}
		for _, shape := range info.Shapes {
			_, err := stock(t).Parse(info.Name + "/" + shape)
			require.NoError(t, err)
		}
	}
}
