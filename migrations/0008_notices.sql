-- migrate:up

-- What many people are told, once: their notifications, and the events in their inboxes, name it by its id. Nodes of
-- the versions before look for it in the notification itself, so that these are only made when there are none.
CREATE TABLE collab.notices (
    id uuid PRIMARY KEY,
    comment_id uuid,
    text text NOT NULL,
    view_state text,
    created_at timestamptz NOT NULL
);

CREATE INDEX notices_comment ON collab.notices (comment_id) WHERE comment_id IS NOT NULL;
CREATE INDEX notices_created ON collab.notices (created_at);

-- Of a notification that waits until its reader may know of it: how often Library has said no, and when to ask again.
ALTER TABLE collab.notifications
    ADD COLUMN notice_id uuid,
    ADD COLUMN refusals integer NOT NULL DEFAULT 0,
    ADD COLUMN ask_at timestamptz;

-- migrate:down

ALTER TABLE collab.notifications
    DROP COLUMN notice_id,
    DROP COLUMN refusals,
    DROP COLUMN ask_at;
DROP TABLE collab.notices;
