-- migrate:up transaction:false

-- Deleted discussions whose words are still there.
CREATE INDEX CONCURRENTLY IF NOT EXISTS discussions_to_purge ON collab.discussions (deleted_at)
 WHERE deleted_at IS NOT NULL AND name <> '';

-- migrate:down transaction:false

DROP INDEX CONCURRENTLY collab.discussions_to_purge;
