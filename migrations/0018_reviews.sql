-- migrate:up

-- That what somebody was told has to be looked at again, for it may have gone: of one comment, or of a whole topic.
-- Stored with what was changed, and dropped when it was looked at; nobody's inbox is locked for it.
CREATE TABLE collab.reviews (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id text NOT NULL,
    topic text NOT NULL,
    comment_id uuid
);

CREATE INDEX reviews_user ON collab.reviews (user_id);

-- Which mention has reached the reader: their own id, or a group's. NULL where a node of the version before has stored it.
-- And since when a notification waits again, because its reader may no longer open its topic.
ALTER TABLE collab.notifications
    ADD COLUMN through text,
    ADD COLUMN taken_back_at timestamptz;

-- migrate:down

ALTER TABLE collab.notifications
    DROP COLUMN through,
    DROP COLUMN taken_back_at;
DROP TABLE collab.reviews;
