package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// importInput is a file on its way into an import.
type importInput struct {
	io.Reader
	size  int64 // bytes that Reader gives; 0 if that is not known
	close func() error
}

// Close closes the file.
func (f *importInput) Close() error { return f.close() }

// openImport opens a file and returns the name by which it is imported. A feed
// of emoncms that lies in two files comes as rows.
func openImport(name string) (*importInput, string, error) {
	base := filepath.Base(name)
	file, err := os.Open(name)
	if err != nil {
		return nil, "", err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, "", errors.Join(err, file.Close())
	}
	stem, isData := strings.CutSuffix(name, ".dat")
	meta, err := os.ReadFile(stem + ".meta")
	if !isData || errors.Is(err, os.ErrNotExist) {
		return &importInput{file, info.Size(), file.Close}, base, nil
	}
	if err != nil {
		return nil, "", errors.Join(err, file.Close())
	}
	rows, err := newFina(meta, file)
	if err != nil {
		return nil, "", errors.Join(fmt.Errorf("%s.meta: %w", stem, err), file.Close())
	}
	// emoncms numbers the files; a device that is called by a number would be
	// taken for the one with that id.
	return &importInput{rows, 0, file.Close}, "feed" + strings.TrimSuffix(base, ".dat") + ".csv", nil
}

// fina turns a feed of fixed intervals (emoncms' PHPFina) into rows of time and
// value: its data are 4-byte floats, lowest byte first, NaN where nothing was
// measured.
type fina struct {
	data            *bufio.Reader
	interval, start uint32 // s
	n               uint32
	row             []byte // that was not handed out yet
}

// newFina reads the 16 bytes that describe a feed: two numbers that are not
// used, the interval and the Unix time of the first value.
func newFina(meta []byte, data io.Reader) (*fina, error) {
	if len(meta) != 16 {
		return nil, fmt.Errorf("%d bytes instead of 16; is it of a feed of fixed intervals?", len(meta))
	}
	f := &fina{
		data:     bufio.NewReaderSize(data, 64<<10),
		interval: binary.LittleEndian.Uint32(meta[8:]), start: binary.LittleEndian.Uint32(meta[12:]),
	}
	if f.interval == 0 {
		return nil, errors.New("the interval is 0 s")
	}
	return f, nil
}

// Read implements io.Reader.
func (f *fina) Read(p []byte) (int, error) {
	for len(f.row) == 0 {
		var b [4]byte
		if _, err := io.ReadFull(f.data, b[:]); err != nil {
			if errors.Is(err, io.ErrUnexpectedEOF) { // a value that was cut
				err = io.EOF
			}
			return 0, err
		}
		at := int64(f.start) + int64(f.n)*int64(f.interval)
		f.n++
		v := math.Float32frombits(binary.LittleEndian.Uint32(b[:]))
		if v != v { // NaN
			continue
		}
		f.row = strconv.AppendInt(f.row[:0], at, 10)
		f.row = append(f.row, ',')
		f.row = strconv.AppendFloat(f.row, float64(v), 'f', -1, 32)
		f.row = append(f.row, '\n')
	}
	n := copy(p, f.row)
	f.row = f.row[n:]
	return n, nil
}
