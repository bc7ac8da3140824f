-- migrate:up

-- As comments_page, for who asks about a visualization: without it a topic of 22,000 comments was read through.
CREATE INDEX comments_visualization ON collab.comments (topic_id, visualization_key, seq)
 WHERE visualization_key IS NOT NULL;

-- migrate:down

DROP INDEX collab.comments_visualization;
