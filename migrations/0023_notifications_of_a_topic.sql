-- migrate:up transaction:false

-- What somebody was told of a topic: looked for whenever Library refuses it to them, and when they are out of it.
CREATE INDEX CONCURRENTLY IF NOT EXISTS notifications_topic ON collab.notifications (user_id, topic);

-- migrate:down transaction:false

DROP INDEX CONCURRENTLY collab.notifications_topic;
