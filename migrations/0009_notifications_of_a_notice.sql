-- migrate:up transaction:false

-- Which notices nobody is told any more.
CREATE INDEX CONCURRENTLY IF NOT EXISTS notifications_notice ON collab.notifications (notice_id)
 WHERE notice_id IS NOT NULL;

-- migrate:down transaction:false

DROP INDEX CONCURRENTLY collab.notifications_notice;
