package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"

	"github.com/wattle-home/wattle/gateway"
)

// Statistic is what the recorder of Home Assistant keeps of an entity for an
// hour or, of the last days, for five minutes.
type Statistic struct {
	Entity string // such as sensor.fridge_power
	Unit   string // as it stands there
	From   gateway.Instant
	To     gateway.Instant
	Mean   float64 // NaN if there is none
	Sum    float64 // at To; NaN if there is none
}

// HomeAssistant calls fn with the statistics in the database file at path, one
// entity after the other, in order of time; where there are some of five
// minutes, those of hours are left out. The file is not changed, and nobody
// may change it meanwhile. A file that is no such database is a CodeInvalid; an
// error of fn ends it and is returned as it is.
func HomeAssistant(ctx context.Context, path string, fn func(s Statistic) error) (err error) {
	db := openDB(path, "mode=ro&immutable=1", []string{"PRAGMA cache_size = -1024"})
	db.SetMaxOpenConns(1)
	defer func() { err = errors.Join(err, db.Close()) }()
	type meta struct {
		id           int64
		entity, unit string
	}
	metas, err := collect(ctx, db, func(row scanner) (m meta, err error) {
		err = row.Scan(&m.id, &m.entity, &m.unit)
		return m, err
	}, `SELECT id, statistic_id, coalesce(unit_of_measurement, '') FROM statistics_meta
		ORDER BY statistic_id, id`)
	if err != nil {
		return gateway.Invalidf("not a database of Home Assistant with statistics: %v", err)
	}
	for _, m := range metas {
		first := gateway.Instant(math.MaxInt64)
		short, err := foreignRows(ctx, db, "statistics_short_term", m.id, math.MaxInt64, 1,
			func(s Statistic) error {
				first = s.From
				return nil
			})
		if err != nil {
			return err
		}
		for _, part := range []struct {
			table  string
			period gateway.Instant
			before gateway.Instant
		}{
			{"statistics", gateway.Hour, first},
			{"statistics_short_term", 5 * gateway.Minute, math.MaxInt64},
		} {
			if part.period < gateway.Hour && !short {
				continue
			}
			_, err := foreignRows(ctx, db, part.table, m.id, part.before, -1, func(s Statistic) error {
				s.Entity, s.Unit, s.To = m.entity, m.unit, s.From+part.period
				return fn(s)
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// foreignRows calls fn with up to most rows of a table of statistics that begin
// before an instant; there says whether the table is.
func foreignRows(
	ctx context.Context, db *sql.DB, table string, id int64, before gateway.Instant, most int,
	fn func(s Statistic) error,
) (there bool, err error) {
	// Until 2023 the time was a text of UTC.
	start := ""
	for _, c := range []struct{ column, seconds string }{
		{"start", "CAST(strftime('%s', start) AS REAL)"}, {"start_ts", "start_ts"},
	} {
		var n int
		err := db.QueryRowContext(ctx, `SELECT count(*) FROM pragma_table_info(?) WHERE name = ?`,
			table, c.column).Scan(&n)
		if err != nil {
			return false, err
		}
		if n > 0 {
			start = c.seconds
		}
	}
	if start == "" {
		return false, nil
	}
	rows, err := db.QueryContext(ctx, fmt.Sprintf(`SELECT %s AS at, mean, sum FROM %s
		WHERE metadata_id = ? AND at IS NOT NULL ORDER BY at LIMIT ?`, start, table), id, most)
	if err != nil {
		return true, gateway.Invalidf("not a database of Home Assistant with statistics: %v", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var at float64
		var mean, sum sql.NullFloat64
		if err := rows.Scan(&at, &mean, &sum); err != nil {
			return true, gateway.Invalidf("table %s: %v", table, err)
		}
		s := Statistic{From: gateway.Instant(math.Round(at * 1000)), Mean: math.NaN(), Sum: math.NaN()}
		if s.From >= before {
			break
		}
		if mean.Valid {
			s.Mean = mean.Float64
		}
		if sum.Valid {
			s.Sum = sum.Float64
		}
		if err := fn(s); err != nil {
			return true, err
		}
	}
	return true, rows.Err()
}
