CREATE TABLE chunk (
    id        INTEGER PRIMARY KEY,
    device_id INTEGER NOT NULL REFERENCES device (id),
    first_ms  INTEGER NOT NULL,                     -- Unix ms, of the first reading
    last_ms   INTEGER NOT NULL,                     -- Unix ms, of the last reading
    count     INTEGER NOT NULL,                     -- readings
    data      BLOB    NOT NULL
, fields INTEGER NOT NULL DEFAULT 3) STRICT;

CREATE INDEX chunk_span ON chunk (device_id, first_ms, last_ms, count);

CREATE TABLE command (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT    NOT NULL UNIQUE,
    device_id   INTEGER NOT NULL REFERENCES device (id) ON DELETE CASCADE,
    action      TEXT    NOT NULL,
    power_state TEXT    NOT NULL,                   -- '' for none
    urgent      INTEGER NOT NULL,                   -- 0 or 1
    source      TEXT    NOT NULL,                   -- JSON object: who asked
    status      TEXT    NOT NULL,
    tries       INTEGER NOT NULL,
    created_ms  INTEGER NOT NULL,                   -- Unix ms
    updated_ms  INTEGER NOT NULL,                   -- Unix ms
    reason      TEXT    NOT NULL
) STRICT;

CREATE INDEX command_device ON command (device_id);

CREATE TABLE credential (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    name         TEXT    NOT NULL,
    name_key     TEXT    NOT NULL,                  -- folded case
    kind         TEXT    NOT NULL,                  -- device, bridge, client
    username     TEXT    NOT NULL UNIQUE,
    hash         BLOB    NOT NULL,                  -- SHA-256 of the secret
    device_id    INTEGER REFERENCES device (id) ON DELETE CASCADE,
    rights       TEXT    NOT NULL,                  -- JSON object of topic filters
    created_ms   INTEGER NOT NULL,                  -- Unix ms
    last_used_ms INTEGER NOT NULL                   -- Unix ms; 0 for never
) STRICT;

CREATE INDEX credential_device ON credential (device_id);

CREATE UNIQUE INDEX credential_name ON credential (name_key) WHERE kind <> 'device';

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

CREATE TABLE device (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    uuid        TEXT    NOT NULL,
    alias       TEXT    NOT NULL,
    alias_key   TEXT    NOT NULL,                   -- folded case
    description TEXT    NOT NULL,
    dialect     TEXT    NOT NULL,                   -- '' for no MQTT
    topic       TEXT    NOT NULL,
    role        TEXT    NOT NULL,                   -- consumer, grid, solar, battery
    parent_id   INTEGER REFERENCES device (id),
    room        TEXT    NOT NULL,
    icon        TEXT    NOT NULL,
    tags        TEXT    NOT NULL,                   -- JSON list of texts
    member_id   INTEGER REFERENCES member (id),
    schedule    TEXT    NOT NULL,                   -- JSON object
    relay       TEXT,                               -- JSON object; NULL for none
    created_ms  INTEGER NOT NULL,                   -- Unix ms
    version     INTEGER NOT NULL,                   -- rises with each change
    deleted_ms  INTEGER                             -- Unix ms; NULL while it lives
) STRICT;

CREATE UNIQUE INDEX device_alias ON device (alias_key) WHERE deleted_ms IS NULL;

CREATE INDEX device_member ON device (member_id);

CREATE INDEX device_parent ON device (parent_id);

CREATE UNIQUE INDEX device_topic ON device (dialect, topic)
    WHERE deleted_ms IS NULL AND dialect <> '' AND topic <> '';

CREATE UNIQUE INDEX device_uuid  ON device (uuid)      WHERE deleted_ms IS NULL;

CREATE TABLE event (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms     INTEGER NOT NULL,                     -- Unix ms
    kind      TEXT    NOT NULL,
    device_id INTEGER NOT NULL,                     -- 0 for the household
    source    TEXT    NOT NULL,                     -- JSON object: who did it
    text      TEXT    NOT NULL
) STRICT;

CREATE INDEX event_at ON event (at_ms, id);

CREATE INDEX event_device ON event (device_id, at_ms, id);

CREATE TABLE member (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    name          TEXT    NOT NULL,
    name_key      TEXT    NOT NULL UNIQUE,          -- folded case
    role          TEXT    NOT NULL,                 -- viewer, member, owner
    password_hash TEXT    NOT NULL,                 -- '' for no login
    created_ms    INTEGER NOT NULL                  -- Unix ms
) STRICT;

CREATE TABLE retained (
    id            INTEGER PRIMARY KEY,
    topic         TEXT    NOT NULL UNIQUE,
    payload       BLOB    NOT NULL,
    qos           INTEGER NOT NULL,
    credential_id INTEGER NOT NULL,                 -- 0 for the gateway
    at_ms         INTEGER NOT NULL                  -- Unix ms
) STRICT;

CREATE TABLE rollup (
    id        INTEGER PRIMARY KEY,
    device_id INTEGER NOT NULL REFERENCES device (id),
    level     INTEGER NOT NULL,                     -- 1: 5 minutes, 2: an hour, 3: a day
    from_ms   INTEGER NOT NULL,                     -- Unix ms
    to_ms     INTEGER NOT NULL,                     -- Unix ms, exclusive
    data      BLOB    NOT NULL
) STRICT;

CREATE INDEX rollup_span ON rollup (device_id, level, from_ms, to_ms);

CREATE TABLE session (
    hash              BLOB    NOT NULL PRIMARY KEY, -- SHA-256 of the cookie
    member_id         INTEGER NOT NULL REFERENCES member (id) ON DELETE CASCADE,
    created_ms        INTEGER NOT NULL,             -- Unix ms
    idle_until_ms     INTEGER NOT NULL,             -- Unix ms; moves with use
    absolute_until_ms INTEGER NOT NULL              -- Unix ms; never moves
) STRICT, WITHOUT ROWID;

CREATE INDEX session_member ON session (member_id, created_ms);

CREATE TABLE setting (
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE tail (
    id   INTEGER PRIMARY KEY,
    data BLOB    NOT NULL
) STRICT;

CREATE TABLE thinned (
    id        INTEGER PRIMARY KEY,
    device_id INTEGER NOT NULL REFERENCES device (id),
    from_ms   INTEGER NOT NULL,                     -- Unix ms
    to_ms     INTEGER NOT NULL,                     -- Unix ms, exclusive
    reason    TEXT    NOT NULL                      -- age, size, damage
) STRICT;

CREATE INDEX thinned_span ON thinned (device_id, from_ms, to_ms);

CREATE TABLE token (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    name         TEXT    NOT NULL,
    name_key     TEXT    NOT NULL UNIQUE,           -- folded case
    hash         BLOB    NOT NULL UNIQUE,           -- SHA-256 of the key
    member_id    INTEGER REFERENCES member (id) ON DELETE CASCADE,
    role         TEXT    NOT NULL,                  -- viewer, member, owner
    created_ms   INTEGER NOT NULL,                  -- Unix ms
    expires_ms   INTEGER NOT NULL,                  -- Unix ms; 0 for never
    last_used_ms INTEGER NOT NULL                   -- Unix ms; 0 for never
) STRICT;

CREATE INDEX token_member ON token (member_id);
