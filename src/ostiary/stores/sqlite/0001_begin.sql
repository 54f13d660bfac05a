-- What is personal is an envelope, and the CHECKs below let nothing else into those cells: an
-- envelope begins with 'AF' and is at least 94 bytes long. Everything else is an id, a count, a
-- time, or a word from the configuration. Tables are STRICT, so that a type is a promise.

CREATE TABLE persons (
  seq         INTEGER PRIMARY KEY,
  id          TEXT    NOT NULL UNIQUE CHECK (length(id) = 36),
  blind_index BLOB    NOT NULL UNIQUE,
  profile     BLOB    NOT NULL CHECK (substr(profile, 1, 2) = X'4146' AND length(profile) >= 94),
  roles       TEXT    NOT NULL,
  application INTEGER NOT NULL CHECK (application IN (0, 1)),
  active      INTEGER NOT NULL CHECK (active IN (0, 1)),
  created     REAL    NOT NULL
) STRICT;

CREATE TABLE api_keys (
  seq         INTEGER PRIMARY KEY,
  id          TEXT    NOT NULL UNIQUE CHECK (length(id) = 36),
  public_id   TEXT    NOT NULL UNIQUE CHECK (length(public_id) <= 16),
  person      INTEGER NOT NULL REFERENCES persons (seq),
  name        BLOB    NOT NULL CHECK (substr(name, 1, 2) = X'4146' AND length(name) >= 94),
  verifier    BLOB    NOT NULL,
  bcrypt      BLOB    NOT NULL,
  permissions TEXT    NOT NULL,
  state       TEXT    NOT NULL CHECK (length(state) <= 16),
  created     REAL    NOT NULL,
  expires     REAL,
  mac         BLOB    NOT NULL
) STRICT;

CREATE INDEX api_keys_by_person ON api_keys (person);

-- Apart from the key, so that a use neither rewrites an authenticated row nor counts as a change.
CREATE TABLE key_uses (
  key INTEGER PRIMARY KEY REFERENCES api_keys (seq) ON DELETE CASCADE,
  at  REAL    NOT NULL
) STRICT;

CREATE TABLE conversations (
  seq      INTEGER PRIMARY KEY,
  id       TEXT    NOT NULL UNIQUE CHECK (length(id) = 36),
  person   INTEGER NOT NULL REFERENCES persons (seq),
  created  REAL    NOT NULL,
  updated  REAL    NOT NULL,
  messages INTEGER NOT NULL CHECK (messages >= 0)
) STRICT;

CREATE INDEX conversations_by_person ON conversations (person, updated);

-- Sealed contents lie in cells of rounded sizes. A cell is appended, or overwritten in place by as
-- many bytes; it is never removed and never grows. Reason: secure_delete zeroes what is freed, but
-- where SQLite moves rows between pages (balancing after a DELETE) copies of the moved rows stay
-- behind in the gaps, and would outlive a later deletion. In this table no row is ever moved.
CREATE TABLE cells (
  seq    INTEGER PRIMARY KEY,
  sealed BLOB NOT NULL CHECK (substr(sealed, 1, 2) IN (X'4146', X'0000') AND length(sealed) >= 94)
) STRICT;

-- Cells whose content was deleted (they hold zeros), by size, to be filled again.
CREATE TABLE vacancies (
  cell INTEGER PRIMARY KEY REFERENCES cells (seq),
  size INTEGER NOT NULL
) STRICT;

CREATE INDEX vacancies_by_size ON vacancies (size);

-- A message belongs to its conversation and, through it, to that conversation's person.
CREATE TABLE messages (
  conversation INTEGER NOT NULL REFERENCES conversations (seq) ON DELETE CASCADE,
  position     INTEGER NOT NULL,
  id           TEXT    NOT NULL CHECK (length(id) = 36),
  role         TEXT    NOT NULL CHECK (length(role) <= 16),
  created      REAL    NOT NULL,
  cell         INTEGER NOT NULL REFERENCES cells (seq),
  length       INTEGER NOT NULL,
  PRIMARY KEY (conversation, position)
) STRICT, WITHOUT ROWID;

-- No index on `id`: records leave from the front, and within a second.
CREATE TABLE audit_outbox (
  position INTEGER PRIMARY KEY,
  id       TEXT NOT NULL CHECK (length(id) = 36),
  body     BLOB NOT NULL,
  mac      BLOB NOT NULL
) STRICT;

CREATE TABLE audit_private (
  record   TEXT NOT NULL CHECK (length(record) = 36),
  name     TEXT NOT NULL CHECK (length(name) <= 32),
  person   TEXT NOT NULL CHECK (length(person) <= 64),
  envelope BLOB NOT NULL CHECK (substr(envelope, 1, 2) = X'4146' AND length(envelope) >= 94),
  PRIMARY KEY (record, name)
) STRICT, WITHOUT ROWID;

-- Exchanges under way: a row comes with the intent and goes with the closing record. What a crash
-- leaves here is closed at the next start. `since`: how many records the tree had at the intent.
CREATE TABLE open_exchanges (
  request TEXT    PRIMARY KEY CHECK (length(request) = 36),
  since   INTEGER NOT NULL CHECK (since >= 0)
) STRICT, WITHOUT ROWID;

CREATE TABLE tree_state (
  id   INTEGER PRIMARY KEY CHECK (id = 1),
  size INTEGER NOT NULL CHECK (size >= 0),
  root BLOB    NOT NULL
) STRICT;

-- Moves with every change of a person or key, whichever process or statement makes it.
CREATE TABLE changes (
  id    INTEGER PRIMARY KEY CHECK (id = 1),
  count INTEGER NOT NULL
) STRICT;

INSERT INTO changes (id, count) VALUES (1, 0);

CREATE TRIGGER person_added AFTER INSERT ON persons BEGIN
  UPDATE changes SET count = count + 1;
END;
CREATE TRIGGER person_changed AFTER UPDATE ON persons BEGIN
  UPDATE changes SET count = count + 1;
END;
CREATE TRIGGER person_removed AFTER DELETE ON persons BEGIN
  UPDATE changes SET count = count + 1;
END;
CREATE TRIGGER key_added AFTER INSERT ON api_keys BEGIN
  UPDATE changes SET count = count + 1;
END;
CREATE TRIGGER key_changed AFTER UPDATE ON api_keys BEGIN
  UPDATE changes SET count = count + 1;
END;
CREATE TRIGGER key_removed AFTER DELETE ON api_keys BEGIN
  UPDATE changes SET count = count + 1;
END;

PRAGMA user_version = 1;
