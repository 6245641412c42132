-- Which fields readings of a chunk have: 1 power, 2 counter, 3 perhaps both.
-- Who looks for one of them passes over the other chunks.
ALTER TABLE chunk ADD COLUMN fields INTEGER NOT NULL DEFAULT 3;

-- Rollups are sums of the readings of a device over spans that follow each
-- other, packed by column; FORMAT.md tells how. Those of a device and level do
-- not overlap. They follow from the readings, and those that a late reading
-- makes untrue go with the commit that brings it.
CREATE TABLE rollup (
    id        INTEGER PRIMARY KEY,
    device_id INTEGER NOT NULL REFERENCES device (id),
    level     INTEGER NOT NULL,                     -- 1: 5 minutes, 2: an hour, 3: a day
    from_ms   INTEGER NOT NULL,                     -- Unix ms
    to_ms     INTEGER NOT NULL,                     -- Unix ms, exclusive
    data      BLOB    NOT NULL
) STRICT;

CREATE INDEX rollup_span ON rollup (device_id, level, from_ms, to_ms);

-- Thinned are the spans in which readings are gone while their rollups stand.
-- No later reading changes the rollups there.
CREATE TABLE thinned (
    id        INTEGER PRIMARY KEY,
    device_id INTEGER NOT NULL REFERENCES device (id),
    from_ms   INTEGER NOT NULL,                     -- Unix ms
    to_ms     INTEGER NOT NULL,                     -- Unix ms, exclusive
    reason    TEXT    NOT NULL                      -- age, size, damage
) STRICT;

CREATE INDEX thinned_span ON thinned (device_id, from_ms, to_ms);
