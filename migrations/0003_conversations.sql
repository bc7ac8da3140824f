-- migrate:up

-- {"👍": ["user id", …], …} as JSON kept as text, in order of arrival; changed only under the topic's lock.
ALTER TABLE collab.comments ADD COLUMN reactions text NOT NULL DEFAULT '{}';

-- A private discussion. What is in it hangs on its topic, whose lock guards this row and its members.
CREATE TABLE collab.discussions (
    id uuid PRIMARY KEY,
    topic_id bigint NOT NULL UNIQUE REFERENCES collab.topics (id) ON DELETE CASCADE,
    name text NOT NULL,
    owner_id text NOT NULL,
    about_project text,
    about_object text,
    created_at timestamptz NOT NULL,
    deleted_at timestamptz
);

CREATE INDEX discussions_about ON collab.discussions (about_project, about_object) WHERE about_object IS NOT NULL;

CREATE TABLE collab.members (
    discussion_id uuid NOT NULL REFERENCES collab.discussions (id) ON DELETE CASCADE,
    user_id text NOT NULL,
    name text NOT NULL,
    initials text NOT NULL,
    joined_at timestamptz NOT NULL,
    joined_order bigint GENERATED ALWAYS AS IDENTITY,
    PRIMARY KEY (discussion_id, user_id)
);

CREATE INDEX members_user ON collab.members (user_id);

-- What people are told. Stored with its cause; it gets its seq when it is put into the person's inbox, which for
-- something about content waits until a node has seen that the person may open it.
CREATE TABLE collab.notifications (
    id uuid PRIMARY KEY,
    user_id text NOT NULL,
    cause uuid NOT NULL,
    kind text NOT NULL,
    topic text NOT NULL,
    topic_seq bigint,
    comment_id uuid,
    by_user text NOT NULL,
    text text NOT NULL,
    why text NOT NULL,
    view_state text,
    is_permitted boolean NOT NULL,
    created_at timestamptz NOT NULL,
    seq bigint,
    read_at timestamptz,
    UNIQUE (user_id, cause)
);

CREATE INDEX notifications_inbox ON collab.notifications (user_id, seq DESC) WHERE seq IS NOT NULL;
CREATE INDEX notifications_unread ON collab.notifications (user_id, topic) WHERE seq IS NOT NULL AND read_at IS NULL;
CREATE INDEX notifications_pending ON collab.notifications (user_id) WHERE seq IS NULL;
CREATE INDEX notifications_undelivered ON collab.notifications (user_id) WHERE seq IS NULL AND is_permitted;
CREATE INDEX notifications_comment ON collab.notifications (comment_id) WHERE comment_id IS NOT NULL;

-- migrate:down

DROP TABLE collab.notifications;
DROP TABLE collab.members;
DROP TABLE collab.discussions;
ALTER TABLE collab.comments DROP COLUMN reactions;
