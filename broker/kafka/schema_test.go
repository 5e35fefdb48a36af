package kafka

import (
	"encoding/binary"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// populate sets every exported field of a request, arrays with n elements.
func populate(v reflect.Value, n int) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		populate(v.Elem(), n)
	case reflect.Struct:
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			if name == "UnknownTags" {
				tags := v.Field(i).Addr().Interface().(*kmsg.Tags)
				tags.Set(77, []byte("tag"))
				continue
			}
			if name != "Version" && v.Field(i).CanSet() && name != "ReplicaState" {
				populate(v.Field(i), n)
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			populate(v.Index(i), n)
		}
	case reflect.String:
		v.SetString("text")
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(3)
	case reflect.Uint8:
		v.SetUint(5)
	case reflect.Bool:
		v.SetBool(true)
	}
}

// The schemas say what kmsg says: every request that kmsg encodes, with nothing, with everything and with several of everything, is
// walked to its last byte; without its last byte it is refused.
func TestSchemasAgreeWithKmsg(t *testing.T) {
	for _, a := range apis() {
		for version := a.min; version <= a.max; version++ {
			for n := range 4 {
				req := kmsg.RequestForKey(a.key)
				req.SetVersion(version)
				if n > 0 {
					populate(reflect.ValueOf(req).Elem(), n)
					req.SetVersion(version)
				}
				body := req.AppendTo(nil)
				w := walker{src: body, version: version, flexible: version >= a.schema.flexible, budget: maxElements}
				require.Equal(t, req.IsFlexible(), w.flexible, "key %d version %d", a.key, version)
				w.fields(a.schema.fields)
				if w.flexible {
					w.tags(a.schema.refused)
				}
				require.Empty(t, w.bad, "key %d version %d", a.key, version)
				require.Empty(t, w.src, "key %d version %d", a.key, version)
				if len(body) > 0 {
					require.ErrorIs(t, a.schema.check(body[:len(body)-1], version), errProtocol, "key %d version %d", a.key, version)
				}
			}
		}
	}
}

// The brokers' part of a Fetch is refused, and with it a loop over four thousand million tagged fields inside it.
func TestFetchReplicaStateIsRefused(t *testing.T) {
	a := fetchAPI()
	req := kmsg.NewPtrFetchRequest()
	req.Version = 12
	req.UnknownTags.Set(1, []byte{0})
	require.ErrorIs(t, a.schema.check(req.AppendTo(nil), 12), errProtocol)
	req.Version = 11
	require.NoError(t, a.schema.check(req.AppendTo(nil), 11), "there are no tagged fields in version 11")
}

// Elements and tagged fields of one request are bounded in their sum: kmsg allocates 100 bytes for each.
func TestElementsAreBounded(t *testing.T) {
	a := metadataAPI()
	body := binary.BigEndian.AppendUint32(nil, maxElements+1)
	body = append(body, make([]byte, 3*maxElements)...)
	require.ErrorIs(t, a.schema.check(body, 1), errProtocol)
	binary.BigEndian.PutUint32(body, maxElements)
	require.NoError(t, a.schema.check(body, 1))
}

// A decoder that panics is a malformed request.
func TestDecoderPanicIsAnError(t *testing.T) {
	a := api{key: keyMetadata, max: 1, schema: schema{flexible: 9, refused: noTag}, decoded: func() kmsg.Request { panic("boom") }}
	_, err := a.decode(header{key: keyMetadata}, []byte{0xff, 0xff})
	require.ErrorIs(t, err, errProtocol)
	require.ErrorContains(t, err, "boom")
}
