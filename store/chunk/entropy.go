package chunk

import (
	"encoding/binary"
	"errors"

	"github.com/klauspost/compress/huff0"
)

// Ways to keep tokens.
const (
	asIs     = iota // the bytes themselves
	asOne           // one byte that all tokens are
	asHuff1         // a Huffman table and one stream
	asHuff4         // a Huffman table and four streams, for more than fourFrom
	packings        // how many ways there are
)

// fourFrom is from how many tokens on four streams are worth their bytes,
// because they are read faster.
const fourFrom = 1024

// entropy shortens tokens.
type entropy struct {
	scratch huff0.Scratch
}

// append appends the tokens to dst: how many there are and how they are kept
// in one uvarint, then the bytes, for Huffman codes after their number.
func (e *entropy) append(dst, tokens []byte) []byte {
	head := func(how int) []byte {
		return binary.AppendUvarint(dst, uint64(len(tokens))<<2|uint64(how))
	}
	e.scratch.Reuse = huff0.ReusePolicyNone
	compress, how := huff0.Compress1X, asHuff1
	if len(tokens) >= fourFrom {
		compress, how = huff0.Compress4X, asHuff4
	}
	out, _, err := compress(tokens, &e.scratch)
	switch {
	case errors.Is(err, huff0.ErrUseRLE) || len(tokens) > 0 && err != nil && allSame(tokens):
		return append(head(asOne), tokens[0])
	case err != nil || len(out) >= len(tokens):
		return append(head(asIs), tokens...)
	}
	dst = binary.AppendUvarint(head(how), uint64(len(out)))
	return append(dst, out...)
}

// allSame reports whether all of b is one value.
func allSame(b []byte) bool {
	for _, c := range b {
		if c != b[0] {
			return false
		}
	}
	return true
}

// entropyReader is the inverse of entropy.
type entropyReader struct {
	scratch *huff0.Scratch
	out     []byte
}

// read returns the tokens, at most most of them; they stand until the next
// call.
func (e *entropyReader) read(r *reader, most int) []byte {
	head := r.uvarint()
	if head>>2 > uint64(most) {
		r.fail("%d tokens for %d values", head>>2, most)
		return nil
	}
	n, how := int(head>>2), head&3
	switch how {
	case asIs:
		return r.bytes(n)
	case asOne:
		b := r.byte()
		e.grow(n)
		for i := range e.out {
			e.out[i] = b
		}
		return e.out
	}
	src := r.bytes(r.count("bytes of tokens", len(r.b)))
	if r.err != nil {
		return nil
	}
	s, rest, err := huff0.ReadTable(src, e.scratch)
	if err != nil {
		r.fail("its table: %v", err)
		return nil
	}
	e.scratch = s
	e.grow(n)
	var out []byte
	if how == asHuff4 {
		out, err = s.Decoder().Decompress4X(e.out[:0:n], rest)
	} else {
		s.MaxDecodedSize = n
		out, err = s.Decoder().Decompress1X(e.out[:0:n], rest)
	}
	if err != nil || len(out) != n {
		r.fail("its tokens: %d of %d, %v", len(out), n, err)
		return nil
	}
	return out
}

// grow makes e.out n bytes long.
func (e *entropyReader) grow(n int) {
	if cap(e.out) < n {
		e.out = make([]byte, n, max(n, 4096))
	}
	e.out = e.out[:n]
}
