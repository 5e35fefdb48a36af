package histories_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/histories"
)

// What a send appends, and where it was stored, is read and written in one way for one value and
// for a batch.
func TestSent(t *testing.T) {
	op := histories.New(histories.Invoke, 0, histories.Send)
	op.Value = 7
	require.Equal(t, []int64{7}, op.Sent())
	op.StoredAt(5)
	require.Equal(t, int64(5), op.Offset)
	require.Nil(t, op.Msgs)

	op = histories.New(histories.Invoke, 0, histories.Send)
	op.Msgs = []histories.Message{{Offset: histories.Unset, Value: 7}, {Offset: histories.Unset, Value: 8}}
	require.Equal(t, []int64{7, 8}, op.Sent())
	op.StoredAt(5)
	require.Equal(t, []histories.Message{{Offset: 5, Value: 7}, {Offset: 6, Value: 8}}, op.Msgs)
	require.Equal(t, int64(histories.Unset), op.Offset)
}
