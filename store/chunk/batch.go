package chunk

import (
	"encoding/binary"

	"github.com/wattle-home/wattle/gateway"
)

// AppendBatch appends the readings of one commit, of any devices, to dst and
// returns it. It is quick rather than short, and shortest if those of a device
// stand together in order of time.
func AppendBatch(dst []byte, rs []gateway.Reading) []byte {
	start := len(dst)
	dst = append(dst, version)
	var last gateway.Reading
	for i := 0; i < len(rs); {
		run := 1
		for i+run < len(rs) && rs[i+run].Device == rs[i].Device && rs[i+run].Has == rs[i].Has {
			run++
		}
		dst = binary.AppendUvarint(dst, uint64(rs[i].Device))
		dst = binary.AppendUvarint(dst, uint64(run)<<2|uint64(rs[i].Has))
		last.Power, last.Energy = 0, 0
		for _, r := range rs[i : i+run] {
			dst = binary.AppendUvarint(dst, zigzag(int64(r.At-last.At)))
			if r.Has&gateway.HasPower != 0 {
				dst = binary.AppendUvarint(dst, zigzag(int64(r.Power-last.Power)))
			}
			if r.Has&gateway.HasEnergy != 0 {
				dst = binary.AppendUvarint(dst, zigzag(int64(r.Energy-last.Energy)))
			}
			last = r
		}
		i += run
	}
	return binary.LittleEndian.AppendUint32(dst, checksum(dst[start:]))
}

// ReadBatch appends the readings of what AppendBatch made, in their order, to
// dst. If it is damaged it returns dst as it was, and an error that wraps
// ErrDamaged.
func ReadBatch(dst []gateway.Reading, data []byte) ([]gateway.Reading, error) {
	r := open(data)
	if v := r.byte(); v != version {
		r.fail("its version is %d, and %d is known", v, version)
	}
	start := len(dst)
	var last gateway.Reading
	for len(r.b) > 0 {
		last.Device = gateway.DeviceID(r.uvarint())
		head := r.uvarint()
		last.Has = gateway.ReadingFields(head & 3)
		// A reading takes two bytes at least.
		if last.Has == 0 || head>>2 > uint64(len(r.b)/2) {
			r.fail("a run of %d readings with fields %d", head>>2, last.Has)
		}
		last.Power, last.Energy = 0, 0
		for range head >> 2 {
			last.At += gateway.Instant(r.varint())
			if last.Has&gateway.HasPower != 0 {
				last.Power += gateway.Power(r.varint())
			}
			if last.Has&gateway.HasEnergy != 0 {
				last.Energy += gateway.Energy(r.varint())
			}
			if r.err != nil {
				break
			}
			dst = append(dst, last)
		}
	}
	if r.err != nil {
		return dst[:start], r.err
	}
	return dst, nil
}
