package report

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/histories"
)

const attack = `</script><script>alert(1)</script><img src=x onerror="alert(2)">'"` + "`${alert(3)}"

// TestHTMLEscapes puts hostile text wherever the system under test, or a file from elsewhere, can put text.
func TestHTMLEscapes(t *testing.T) {
	h := small()
	for i := range h {
		h[i].Err, h[i].Node, h[i].Fault, h[i].Effect = attack, attack, attack, attack
	}
	d := permitted()
	d.Findings[0].Explanation, d.Findings[0].Why, d.Summary.Anomalies[0].Explanation = attack, attack, attack
	d.Findings[0].Class, d.Summary.Anomalies[0].Class = attack, attack
	d.Summary.Faults[0].Name, d.Summary.Faults[0].Target, d.Summary.Faults[0].Effect, d.Summary.Faults[0].Err = attack, attack, attack, attack
	d.Summary.Verdict, d.Summary.Run, d.Summary.Mode, d.Summary.Reproduce = attack, attack, attack, attack
	d.Summary.Unknown, d.Warnings = []string{attack}, []string{attack}
	d.Checkers[0].Name, d.Checkers[0].Reason = attack, attack
	d.Settings = []Setting{{attack, attack}}
	var b bytes.Buffer
	require.NoError(t, HTML(&b, d, h, []byte("<p>picture</p>"+attack)))
	page := b.String()
	require.NotContains(t, page, "<script>alert")
	require.NotContains(t, page, "<img")
	require.Equal(t, 2, strings.Count(page, "<script"), "the page's own scripts only")
	require.Equal(t, 2, strings.Count(page, "</script"))
	require.Contains(t, page, `data-page="&lt;p&gt;picture`)
	require.Contains(t, page, `sandbox="allow-scripts"`)
}

func TestHTMLStandsAlone(t *testing.T) {
	h, faults := busy()
	d := permitted()
	d.Summary.Faults = faults
	var b bytes.Buffer
	require.NoError(t, HTML(&b, d, h, nil))
	page := b.String()
	for _, outside := range []string{"http://", "https://", "@import", "url(", "<link", " src="} {
		require.False(t, strings.Contains(page, outside), outside)
	}
	require.False(t, strings.Contains(page, "ZgotmplZ"), "html/template refused a value")
	for _, part := range []string{`class="dot ok"`, `class="bar fail"`, "partition n1,n2", "message 4 was acknowledged by n1"} {
		require.True(t, strings.Contains(page, part), part)
	}
	if path := os.Getenv("ASSAY_REPORT_SAMPLE"); path != "" { // to look at
		require.NoError(t, os.WriteFile(path, b.Bytes(), 0o644))
	}
}

func TestHTMLShowsWitnesses(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, HTML(&b, permitted(), small(), nil))
	for _, line := range []string{"p0 send 4 to partition 0 at n1: ok at offset 0", "fault wipe:leader n1", "final partition 0 from offset 0 at n2"} {
		require.Contains(t, b.String(), line)
	}
}

func TestHTMLWithoutHistory(t *testing.T) {
	d := permitted()
	var b bytes.Buffer
	require.NoError(t, HTML(&b, d, histories.History{}, nil))
	require.NotContains(t, b.String(), `id="charts"`)
	require.Contains(t, b.String(), "permitted")
}

func TestHTMLIsBounded(t *testing.T) {
	h := small()
	d := permitted()
	for range 5000 {
		d.Findings = append(d.Findings, d.Findings[0])
	}
	d.Summary.Anomalies[0].Count = 5001
	var b bytes.Buffer
	require.NoError(t, HTML(&b, d, h, bytes.Repeat([]byte("x"), maxPicture+1)))
	require.Less(t, b.Len(), 200<<10)
	require.Contains(t, b.String(), "4961 more of this class")
	require.Contains(t, b.String(), "is left out")
}

func TestExcludedClassesComeFirst(t *testing.T) {
	d := permitted()
	second := d.Findings[0]
	second.Class, second.Permitted = checker.Phantom, false
	d.Findings = append(d.Findings, second)
	other := d.Summary.Anomalies[0]
	other.Class, other.Permitted = checker.Phantom, false
	d.Summary.Anomalies = append(d.Summary.Anomalies, other)
	groups := findingGroups(d, small())
	require.Equal(t, "phantom", groups[0].Class)
	require.True(t, groups[0].Findings[0].Open)
	require.Equal(t, 2, groups[0].Findings[0].Number)
	require.False(t, groups[1].Findings[0].Open)
}
