package histories

import (
	"bytes"
	"fmt"
	"math"
	"slices"
)

// event decodes the object of an event, as strictly as the rest of a line. There are a few of them
// in a history, so that it need not be fast.
func (d *decoder) event() (*Event, error) {
	e := new(Event)
	_, err := d.object(func(key string) (err error) {
		switch key {
		case "strike":
			e.Strike, err = d.strike()
		case "harm":
			e.Harm, err = d.harm()
		case "instant":
			e.Instant, err = d.boolean()
		case "promote":
			e.Promote, err = d.promote()
		default:
			err = d.errorf("unknown key")
		}
		return err
	})
	return e, err
}

// promote decodes the object of a promote, which is always whole.
func (d *decoder) promote() (*Promote, error) {
	p := new(Promote)
	keys, err := d.object(func(key string) (err error) {
		switch key {
		case "epoch":
			p.Epoch, err = d.integer()
		case "safe":
			p.Safe, err = d.boolean()
		case "forced":
			p.Forced, err = d.boolean()
		default:
			err = d.errorf("unknown key")
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, key := range []string{"epoch", "safe", "forced"} {
		if !slices.Contains(keys, key) {
			return nil, d.errorf("missing key %q", key)
		}
	}
	return p, nil
}

// object decodes an object: value is called where the value of each key begins. It returns the
// keys, each of which is there once.
func (d *decoder) object(value func(key string) error) (keys []string, err error) {
	if d.peek() != '{' {
		return nil, d.errorf("want an object")
	}
	d.at++
	d.space()
	if d.peek() == '}' {
		d.at++
		return nil, nil
	}
	for {
		key, err := d.key(keys)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
		if err := value(key); err != nil {
			return nil, fmt.Errorf("key %q: %w", key, err)
		}
		d.space()
		if d.peek() == '}' {
			d.at++
			return keys, nil
		}
		if err := d.expect(','); err != nil {
			return nil, err
		}
		d.space()
	}
}

// key decodes `"key":`, up to where the value begins. It must not be one of before.
func (d *decoder) key(before []string) (string, error) {
	raw, err := d.rawString()
	if err != nil {
		return "", err
	}
	if slices.Contains(before, string(raw)) {
		return "", d.errorf("duplicate key %q", raw)
	}
	d.space()
	if err := d.expect(':'); err != nil {
		return "", err
	}
	d.space()
	return string(raw), nil
}

// strike decodes the number of a strike.
func (d *decoder) strike() (int, error) {
	n, err := d.integer()
	if err != nil {
		return 0, err
	}
	if n < 0 || n > math.MaxInt32 {
		return 0, d.errorf("strike %d out of range", n)
	}
	return int(n), nil
}

func (d *decoder) harm() (h Harm, err error) {
	text, err := d.text()
	if err != nil {
		return "", err
	}
	if err := h.UnmarshalText([]byte(text)); err != nil {
		return "", d.errorf("%v", err)
	}
	return h, nil
}

func (d *decoder) boolean() (bool, error) {
	for text, v := range map[string]bool{"true": true, "false": false} {
		if bytes.HasPrefix(d.line[d.at:], []byte(text)) {
			d.at += len(text)
			return v, nil
		}
	}
	return false, d.errorf("want true or false")
}
