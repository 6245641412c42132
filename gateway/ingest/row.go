package ingest

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
)

// maxRow is how many bytes a row of a file may have. Without a bound one quote
// that is not closed takes the rest of the file, and with gzip 400 kB of it
// can be as much as the machine's memory.
const maxRow = 1 << 20

// rowReader hands the rows of a file to a CSV reader, line by line, so that it
// knows in which row a fault lies. Use openRows.
type rowReader struct {
	source *sourceReader
	r      *bufio.Reader // what the file says, decompressed
	lines  int           // handed out
	row    int           // number of the line in which the row begins, from 1
	size   int           // bytes of the row, so far
	err    error         // what ended the reading
}

// openRows returns the rows of a file, which may be compressed with gzip. Its
// reads end with an error when ctx ends.
func openRows(ctx context.Context, file io.Reader) *rowReader {
	l := &rowReader{source: &sourceReader{ctx: ctx, r: file}, row: 1}
	l.r = bufio.NewReaderSize(l.source, 64<<10)
	magic, _ := l.r.Peek(2) // a fault is met again by the first Read
	if !bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		return l
	}
	z, err := gzip.NewReader(l.r)
	if err != nil {
		l.err = l.fault(err)
		return l
	}
	l.r = bufio.NewReaderSize(z, 64<<10)
	return l
}

// next says that a new row begins.
func (l *rowReader) next() { l.row, l.size = l.lines+1, 0 }

// Read implements io.Reader; it returns one line at most. Errors other than
// io.EOF are a badRow where the file's content is at fault, else what reading
// the file returned.
func (l *rowReader) Read(p []byte) (int, error) {
	if l.err == nil && l.size >= maxRow {
		l.err = badRow{"the row is longer than 1 MiB; is a quote not closed?"}
	}
	if l.err == nil {
		// Two bytes, so that the end of a line is not torn apart.
		if some, err := l.r.Peek(2); len(some) == 0 {
			l.err = l.fault(err)
		}
	}
	if l.err != nil {
		return 0, l.err
	}
	line, _ := l.r.Peek(min(l.r.Buffered(), len(p), maxRow-l.size)) // it is there
	if end := bytes.IndexByte(line, '\n'); end >= 0 {
		line = line[:end+1]
		l.lines++
	}
	if blank := string(line) == "\n" || string(line) == "\r\n"; blank && l.size == 0 {
		l.row = l.lines + 1 // the CSV reader passes over it
	} else {
		l.size += len(line)
	}
	n := copy(p, line)
	_, _ = l.r.Discard(n) // it was there
	return n, nil
}

// fault says whose fault an error of reading is.
func (l *rowReader) fault(err error) error {
	switch {
	case l.source.err != nil:
		return l.source.err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return badRow{"the compressed file is damaged: it ends too early"}
	case errors.Is(err, io.EOF):
		return io.EOF
	}
	return badRow{fmt.Sprintf("the compressed file is damaged: %v", err)}
}

// sourceReader reads a file and remembers how that failed, which a reader on
// top of it may hide.
type sourceReader struct {
	ctx context.Context
	r   io.Reader
	err error // other than io.EOF
}

// Read implements io.Reader.
func (s *sourceReader) Read(p []byte) (int, error) {
	if s.err == nil {
		s.err = s.ctx.Err()
	}
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}
