-- migrate:up transaction:false

-- The newest content first: a search goes into it, and past all discussions and inboxes that are newer.
CREATE INDEX CONCURRENTLY IF NOT EXISTS topics_content ON collab.topics (id) WHERE name LIKE 'content:%';

-- migrate:down transaction:false

DROP INDEX CONCURRENTLY collab.topics_content;
