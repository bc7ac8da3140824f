-- migrate:up

-- How much somebody has written on a topic: all of it but that is unread to who has read nothing.
DROP INDEX collab.comments_author;
CREATE INDEX comments_author ON collab.comments (author_id, topic_id);

-- migrate:down

DROP INDEX collab.comments_author;
CREATE INDEX comments_author ON collab.comments (author_id);
