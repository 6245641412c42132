package chunk

import (
	"encoding/binary"
	"fmt"

	"github.com/wattle-home/wattle/gateway"
)

// Bounds of a table.
const (
	MaxRows    = 4096
	MaxColumns = 16
)

// Table is columns of numbers of a device, packed like those of readings.
type Table struct {
	Device  gateway.DeviceID
	Kind    uint8           // what the columns are; the caller's matter
	First   gateway.Instant // the caller's matter, too
	Columns [][]int64       // 1 to MaxColumns, each of the same length, 1 to MaxRows
}

// AppendTable appends t to dst. A table beyond the bounds is refused.
func (e *Encoder) AppendTable(dst []byte, t Table) ([]byte, error) {
	if len(t.Columns) == 0 || len(t.Columns) > MaxColumns {
		return dst, fmt.Errorf("packing a table: %d columns", len(t.Columns))
	}
	rows := len(t.Columns[0])
	if rows == 0 || rows > MaxRows {
		return dst, fmt.Errorf("packing a table: %d rows", rows)
	}
	start := len(dst)
	dst = append(dst, version, t.Kind)
	dst = binary.AppendUvarint(dst, uint64(t.Device))
	dst = binary.AppendUvarint(dst, zigzag(int64(t.First)))
	dst = binary.AppendUvarint(dst, uint64(rows))
	dst = append(dst, byte(len(t.Columns)))
	for _, c := range t.Columns {
		if len(c) != rows {
			return dst[:start], fmt.Errorf("packing a table: columns of %d and %d rows", rows, len(c))
		}
		e.x = append(e.x[:0], c...)
		dst = binary.AppendUvarint(dst, uint64(scale(e.x)))
		p, _ := e.w.choose(e.x)
		dst = e.w.append(dst, e.x, p)
	}
	return binary.LittleEndian.AppendUint32(dst, checksum(dst[start:])), nil
}

// ReadTable unpacks a table into the memory of t.Columns, as far as it is
// enough. If it is damaged the error wraps ErrDamaged.
func (d *Decoder) ReadTable(t *Table, data []byte) error {
	r := open(data)
	if v := r.byte(); v != version {
		r.fail("its version is %d, and %d is known", v, version)
	}
	t.Kind = r.byte()
	t.Device = gateway.DeviceID(r.uvarint())
	t.First = gateway.Instant(r.varint())
	rows := r.count("rows", MaxRows)
	columns := int(r.byte())
	if rows == 0 || columns == 0 || columns > MaxColumns {
		r.fail("%d rows of %d columns", rows, columns)
	}
	if r.err != nil {
		return r.err
	}
	for len(t.Columns) < columns {
		t.Columns = append(t.Columns, nil)
	}
	t.Columns = t.Columns[:columns]
	for i := range t.Columns {
		if cap(t.Columns[i]) < rows {
			t.Columns[i] = make([]int64, rows)
		}
		c := t.Columns[i][:rows]
		t.Columns[i] = c
		unit := int64(r.uvarint())
		d.c.read(&r, c)
		if r.err != nil {
			return r.err
		}
		if unit != 1 {
			for k := range c {
				c[k] *= unit
			}
		}
	}
	if len(r.b) > 0 {
		r.fail("%d bytes too many", len(r.b))
	}
	return r.err
}
