package ingest

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/wattle-home/wattle/gateway"
)

// feedName returns the name of an emoncms feed by that of its file.
func feedName(file string) string {
	name := filepath.Base(file)
	for _, ext := range []string{".gz", ".csv"} {
		name = strings.TrimSuffix(name, ext)
	}
	return name
}

// isFeed reports whether cells are a row of a feed: a time and a value.
func isFeed(cells []string) bool {
	if len(cells) != 2 {
		return false
	}
	_, err := strconv.ParseFloat(cells[1], 64)
	return err == nil && len(cells[0]) > 8 && cells[0][0] >= '0' && cells[0][0] <= '9'
}

// emoncmsLayout reads rows of a time and a value. The feed is named by its
// file: one with kwh in its name is a counter, any other is power in watts.
func (run *importRun) emoncmsLayout() (takeRow, error) {
	name := feedName(run.file.Name)
	low := strings.ToLower(name)
	counter, factor := strings.Contains(low, "kwh"), 1000.0
	if !counter && (strings.HasSuffix(low, "_wh") || low == "wh") {
		counter, factor = true, 1
	}
	d, err := run.device(deviceOf(name))
	if err != nil {
		return nil, gateway.Invalidf("%s: %v", run.file.Name, err)
	}
	return func(ctx context.Context, row []string, line int) error {
		if len(row) != 2 {
			return badRow{fmt.Sprintf("%d fields instead of a time and a value", len(row))}
		}
		switch strings.ToLower(strings.TrimSpace(row[1])) {
		case "", "nan", "null": // nothing was measured
			return nil
		}
		var rd gateway.Reading
		if rd.At, err = run.instant(row[0], d); err != nil {
			return err
		}
		if counter {
			v, err := value("value", row[1], factor)
			if err != nil {
				return err
			}
			rd.Energy, rd.Has = gateway.Energy(v), gateway.HasEnergy
		} else {
			v, err := value("value", row[1], 1)
			if err != nil {
				return err
			}
			rd.Power, rd.Has = gateway.Power(v), gateway.HasPower
		}
		return run.take(ctx, d, rd, line)
	}, nil
}
