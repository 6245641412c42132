-- Chunks are sealed readings of one device, packed by column; FORMAT.md tells
-- how. Those of a device do not overlap, and what the columns say of one is
-- what stands in it. The table reading is emptied into them, in parts, when
-- the file is opened, and goes then.
CREATE TABLE chunk (
    id        INTEGER PRIMARY KEY,
    device_id INTEGER NOT NULL REFERENCES device (id),
    first_ms  INTEGER NOT NULL,                     -- Unix ms, of the first reading
    last_ms   INTEGER NOT NULL,                     -- Unix ms, of the last reading
    count     INTEGER NOT NULL,                     -- readings
    data      BLOB    NOT NULL
) STRICT;

CREATE INDEX chunk_span ON chunk (device_id, first_ms, last_ms, count);

-- Tail rows are the commits since, each with its readings of all devices. A
-- row goes when all that is in it is in chunks, too.
CREATE TABLE tail (
    id   INTEGER PRIMARY KEY,
    data BLOB    NOT NULL
) STRICT;

-- Damaged are chunks and tail rows whose checksum was wrong. They are out of
-- the way here, so that what is sound goes on, and wait for a person.
CREATE TABLE damaged (
    id        INTEGER PRIMARY KEY,
    device_id INTEGER NOT NULL,                     -- 0 for a tail row
    first_ms  INTEGER NOT NULL,                     -- Unix ms; 0 for a tail row
    last_ms   INTEGER NOT NULL,                     -- Unix ms; 0 for a tail row
    count     INTEGER NOT NULL,                     -- readings; 0 for a tail row
    data      BLOB    NOT NULL,
    found_ms  INTEGER NOT NULL,                     -- Unix ms
    reason    TEXT    NOT NULL
) STRICT;
