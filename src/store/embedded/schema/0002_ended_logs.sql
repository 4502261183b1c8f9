-- Version 2: what is known of an ended log without reading it, and several snapshots of one log.

-- What the first record names as the app.
ALTER TABLE logs ADD COLUMN app TEXT;
-- Milliseconds since 1970; NULL while the log is open.
ALTER TABLE logs ADD COLUMN ended_at INTEGER;
-- Position of the last record that was trimmed.
ALTER TABLE logs ADD COLUMN trimmed INTEGER NOT NULL DEFAULT 0;
-- Whether the log has ended and none of its records is left.
ALTER TABLE logs ADD COLUMN emptied INTEGER NOT NULL DEFAULT 0 CHECK (emptied IN (0, 1));

-- Version 1 trimmed nothing: the first record and the last are there.
UPDATE logs SET app = (
    SELECT json_extract(body, '$[0].app') FROM records
    WHERE records.conference = logs.conference ORDER BY position LIMIT 1);
UPDATE logs SET ended_at = coalesce(
    (SELECT json_extract(body, '$[#-1].at') FROM records WHERE position = logs.head), 0)
WHERE ended = 1;

-- What is to be trimmed and what is to be forgotten, each in the order in which it ended.
CREATE INDEX ended_logs ON logs (ended_at, conference) WHERE ended = 1;
CREATE INDEX ended_logs_with_records ON logs (ended_at, conference) WHERE ended = 1 AND emptied = 0;

-- A log keeps several, so that a reader of past events begins near to where it wants to read. Those of version 1 do not
-- tell which event they hold last; the logs are whole and are folded instead.
DROP TABLE snapshots;
CREATE TABLE snapshots (
    conference TEXT    NOT NULL,
    revision   INTEGER NOT NULL, -- the last record that is folded in
    seq        INTEGER NOT NULL, -- the last event that is folded in
    format     INTEGER NOT NULL,
    bytes      BLOB    NOT NULL,
    PRIMARY KEY (conference, revision)
) STRICT;
