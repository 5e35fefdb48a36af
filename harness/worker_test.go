package harness

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// nobody is a cluster that opens no clients.
type nobody struct{ Cluster }

func (nobody) Open(context.Context, int) (Client, error) { return nil, nil }

// A target that forgets the client is told so, and does not panic with every op.
func TestOpenWithoutClient(t *testing.T) {
	_, err := openClient(t.Context(), nobody{}, 3)
	require.ErrorContains(t, err, "no client for process 3")
}

// Why no client can be opened is in the log once for each op, and not with every try.
func TestWhyThereIsNoClient(t *testing.T) {
	var log bytes.Buffer
	tries := 0
	r := &run{t: &Test{Cluster: nobody{}, Logger: slog.New(slog.NewTextHandler(&log, nil)), Stop: func() bool { tries++; return tries > 3 }}}
	w := &worker{r: r}
	require.False(t, w.open(t.Context(), &task{}))
	require.Equal(t, 1, strings.Count(log.String(), "opened no client"))
}
