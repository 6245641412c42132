package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/wattle-home/wattle/gateway"
)

// update has TestSchema write the golden schema.
var update = flag.Bool("update", false, "write the golden files")

// openWith opens the store at path with the migrations in files.
func openWith(t *testing.T, path string, files fstest.MapFS) *Store {
	t.Helper()
	s, err := open(context.Background(), Config{Path: path}, files)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// ours returns the first n migrations of the program, all for -1.
func ours(t *testing.T, n int) fstest.MapFS {
	t.Helper()
	steps, err := loadMigrations(migrationFiles)
	if err != nil {
		t.Fatal(err)
	}
	if n < 0 {
		n = len(steps)
	}
	files := fstest.MapFS{}
	for _, step := range steps[:n] {
		files["migrations/"+step.name] = &fstest.MapFile{Data: []byte(step.sql)}
	}
	return files
}

// schema returns the statements that made what is in the file.
func schema(t *testing.T, s *Store) string {
	t.Helper()
	parts, err := collect(context.Background(), s.r, func(row scanner) (string, error) {
		var sql string
		err := row.Scan(&sql)
		return sql, err
	}, `SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'
		ORDER BY tbl_name, type DESC, name`)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(parts, ";\n\n") + ";\n"
}

// version returns the version of the file.
func version(t *testing.T, s *Store) int {
	t.Helper()
	var v int
	if err := s.r.QueryRow("PRAGMA user_version").Scan(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestOpen_schemaIsGolden(t *testing.T) {
	golden := filepath.Join("testdata", "schema.sql")
	fresh := schema(t, openWith(t, filepath.Join(t.TempDir(), "fresh.db"), ours(t, -1)))
	if *update {
		if err := os.WriteFile(golden, []byte(fresh), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), fresh); diff != "" {
		t.Errorf("fresh file; run with -update if meant (-want +got):\n%s", diff)
	}
	for n := 1; n < len(ours(t, -1)); n++ {
		path := filepath.Join(t.TempDir(), "old.db")
		if err := openWith(t, path, ours(t, n)).Close(); err != nil {
			t.Fatal(err)
		}
		got := schema(t, openWith(t, path, ours(t, -1)))
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("migrated from version %d (-want +got):\n%s", n, diff)
		}
	}
}

func TestOpen_tablesAreStrict(t *testing.T) {
	s := openWith(t, filepath.Join(t.TempDir(), "a.db"), ours(t, -1))
	var loose int
	err := s.r.QueryRow(`SELECT count(*) FROM pragma_table_list
		WHERE schema = 'main' AND type = 'table' AND strict = 0 AND name NOT LIKE 'sqlite_%'`).
		Scan(&loose)
	if err != nil || loose != 0 {
		t.Errorf("%d tables are not strict, error %v", loose, err)
	}
}

func TestOpen_pragmas(t *testing.T) {
	s := openWith(t, filepath.Join(t.TempDir(), "a.db"), ours(t, -1))
	for _, c := range []struct {
		db         *sql.DB
		name, want string
	}{
		{s.w, "page_size", "1024"},
		{s.w, "auto_vacuum", "2"},
		{s.w, "journal_mode", "wal"},
		{s.w, "synchronous", "2"},
		{s.w, "foreign_keys", "1"},
		{s.w, "busy_timeout", "5000"},
		{s.w, "application_id", fmt.Sprint(applicationID)},
		{s.r, "query_only", "1"},
		{s.r, "busy_timeout", "5000"},
	} {
		var got string
		if err := c.db.QueryRow("PRAGMA " + c.name).Scan(&got); err != nil || got != c.want {
			t.Errorf("%s is %q, error %v; want %s", c.name, got, err, c.want)
		}
	}
}

func TestOpen_migrates(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	files := ours(t, 1)
	s := openWith(t, path, files)
	d, err := s.AddDevice(context.Background(), gateway.Device{Alias: "lamp"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	later := maps.Clone(files)
	later["migrations/0002_more.sql"] = &fstest.MapFile{Data: []byte(
		"CREATE TABLE more (id INTEGER PRIMARY KEY) STRICT; INSERT INTO more VALUES (7);")}
	s = openWith(t, path, later)
	if got := version(t, s); got != 2 {
		t.Errorf("version %d, want 2", got)
	}
	if _, err := s.Device(context.Background(), d.ID); err != nil {
		t.Errorf("the device is lost: %v", err)
	}

	copied := openWith(t, path+".v1", files)
	if got := version(t, copied); got != 1 {
		t.Errorf("the copy has version %d, want 1", got)
	}
	if _, err := copied.Device(context.Background(), d.ID); err != nil {
		t.Errorf("the device is not in the copy: %v", err)
	}
	if info, err := os.Stat(path + ".v1"); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the copy is %v, error %v; want mode 0600", info.Mode(), err)
	}
}

// TestOpen_migrationCut has the second of three migrations fail in its middle,
// after it changed data: the file stands as the first one left it, and the
// mended program goes on from there.
func TestOpen_migrationCut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	files := ours(t, 1)
	s := openWith(t, path, files)
	d, err := s.AddDevice(context.Background(), gateway.Device{Alias: "lamp"})
	if err != nil {
		t.Fatal(err)
	}
	before := schema(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	broken := maps.Clone(files)
	broken["migrations/0002_more.sql"] = &fstest.MapFile{Data: []byte(
		"CREATE TABLE more (id INTEGER) STRICT; DELETE FROM device; SELECT * FROM missing;")}
	for range 2 { // a restart meets the same
		_, err = open(context.Background(), Config{Path: path}, broken)
		if err == nil || !strings.Contains(err.Error(), "0002_more.sql") {
			t.Fatalf("got error %v, want one naming 0002_more.sql", err)
		}
	}

	s = openWith(t, path, files)
	if diff := cmp.Diff(before, schema(t, s)); diff != "" {
		t.Errorf("schema after the cut (-want +got):\n%s", diff)
	}
	if _, err := s.Device(context.Background(), d.ID); err != nil {
		t.Errorf("the device is lost: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	broken["migrations/0002_more.sql"].Data = []byte("CREATE TABLE more (id INTEGER) STRICT;")
	if got := version(t, openWith(t, path, broken)); got != 2 {
		t.Errorf("version %d after mending, want 2", got)
	}
}

func TestOpen_newer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	newer := ours(t, -1)
	known := len(newer)
	newer[fmt.Sprintf("migrations/%04d_future.sql", known+1)] = &fstest.MapFile{
		Data: []byte("CREATE TABLE future (id INTEGER) STRICT;"),
	}
	if err := openWith(t, path, newer).Close(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Open(context.Background(), Config{Path: path})
	for _, part := range []string{
		path, fmt.Sprintf("version %d ", known+1), fmt.Sprintf("version %d,", known),
	} {
		if gateway.CodeOf(err) != gateway.CodeInvalid || !strings.Contains(err.Error(), part) {
			t.Errorf("got error %v, want an invalid one with %q", err, part)
		}
	}
	after, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file changed, error %v", err)
	}
}

func TestOpen_foreign(t *testing.T) {
	dir := t.TempDir()
	other := filepath.Join(dir, "other.db")
	db := openDB(other, "", nil)
	_, err := db.Exec("CREATE TABLE t (a)")
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	text := filepath.Join(dir, "text.db")
	err = os.WriteFile(text, []byte("not a database, but long enough for one"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	short := filepath.Join(dir, "short.db")
	if err := os.WriteFile(short, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, part := range map[string]string{
		other:                                 "another program",
		text:                                  "not a database",
		short:                                 "not a database",
		dir:                                   "directory",
		filepath.Join(dir, "missing", "a.db"): "does not exist",
		filepath.Join(text, "a.db"):           "not a directory",
		"":                                    "no path",
	} {
		before, _ := os.ReadFile(path)
		_, err := Open(context.Background(), Config{Path: path})
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%q: got error %v, want one with %q", path, err, part)
		}
		if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
			t.Errorf("%q changed", path)
		}
	}
}

func TestLoadMigrations_names(t *testing.T) {
	for _, names := range [][]string{
		{"0002_a.sql"},
		{"0001_a.sql", "0003_b.sql"},
		{"0001_a.sql", "0001_b.sql"},
		{"1_a.sql"},
		{"0001_a.sql", "readme.txt"},
	} {
		files := fstest.MapFS{}
		for _, n := range names {
			files["migrations/"+n] = &fstest.MapFile{}
		}
		if steps, err := loadMigrations(files); err == nil {
			t.Errorf("%v: got %v, want an error", names, steps)
		}
	}
}
