-- Version 1: the logs of the conferences, their snapshots, and the claims.
-- A step runs in one transaction and, once released, never changes; the next change is the next step.

-- "Tide": tells our file from any other SQLite file.
PRAGMA application_id = 0x54696465;

-- The last numbers given out. They only grow, so that no number is given twice, whatever is deleted.
CREATE TABLE counters (
    one                 INTEGER PRIMARY KEY CHECK (one = 1),
    last_position       INTEGER NOT NULL,
    last_claim_revision INTEGER NOT NULL
) STRICT;

INSERT INTO counters VALUES (1, 0, 0);

-- One row per conference that was not forgotten.
CREATE TABLE logs (
    conference TEXT    NOT NULL PRIMARY KEY,
    head       INTEGER NOT NULL, -- position of its newest record, kept though the record may be trimmed
    ended      INTEGER NOT NULL CHECK (ended IN (0, 1))
) STRICT, WITHOUT ROWID;

-- A start lists the open conferences; this keeps the ended ones out of its way.
CREATE INDEX open_logs ON logs (conference) WHERE ended = 0;

-- The records of all logs. A record's revision in its log is its position.
CREATE TABLE records (
    position   INTEGER PRIMARY KEY,
    conference TEXT NOT NULL,
    body       TEXT NOT NULL -- JSON, as the domain writes it
) STRICT;

CREATE INDEX records_of_a_log ON records (conference, position);

-- The newest fold of a log.
CREATE TABLE snapshots (
    conference TEXT    NOT NULL PRIMARY KEY,
    revision   INTEGER NOT NULL, -- the last record that is folded in
    format     INTEGER NOT NULL,
    bytes      BLOB    NOT NULL
) STRICT;

CREATE TABLE claims (
    key      TEXT    NOT NULL PRIMARY KEY,
    revision INTEGER NOT NULL,
    value    BLOB    NOT NULL
) STRICT, WITHOUT ROWID;
