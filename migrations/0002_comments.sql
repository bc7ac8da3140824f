-- migrate:up

-- What one can subscribe to. The row is the lock that orders the commits of a topic.
CREATE TABLE collab.topics (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    last_seq bigint NOT NULL DEFAULT 0,
    comments bigint NOT NULL DEFAULT 0,
    last_at timestamptz
) WITH (fillfactor = 70);

-- The log of each topic: seq 1, 2, 3 … without gaps. actor and data are JSON kept as text, as they are sent.
CREATE TABLE collab.events (
    topic_id bigint NOT NULL REFERENCES collab.topics (id) ON DELETE CASCADE,
    seq bigint NOT NULL,
    type text NOT NULL,
    at timestamptz NOT NULL,
    actor text NOT NULL,
    data text NOT NULL,
    comment_id uuid,
    PRIMARY KEY (topic_id, seq)
);

-- A deleted comment's words leave the log too.
CREATE INDEX events_comment ON collab.events (comment_id) WHERE comment_id IS NOT NULL;

-- mentions, anchor, view_state and resolved are JSON kept as text; seq is that of the event that added the comment.
CREATE TABLE collab.comments (
    id uuid PRIMARY KEY,
    topic_id bigint NOT NULL REFERENCES collab.topics (id) ON DELETE CASCADE,
    seq bigint NOT NULL,
    thread_id uuid NOT NULL,
    author_id text NOT NULL,
    author_name text NOT NULL,
    author_initials text NOT NULL,
    text text NOT NULL,
    mentions text NOT NULL DEFAULT '[]',
    anchor text,
    page_key text,
    visualization_key text,
    view_state text,
    created_at timestamptz NOT NULL,
    edited_at timestamptz,
    deleted_at timestamptz,
    revision integer NOT NULL DEFAULT 1,
    reply_count integer NOT NULL DEFAULT 0,
    resolved text,
    UNIQUE (topic_id, seq)
) WITH (fillfactor = 90);

CREATE INDEX comments_thread ON collab.comments (thread_id, seq);
CREATE INDEX comments_author ON collab.comments (author_id);
CREATE INDEX comments_page ON collab.comments (topic_id, page_key, seq) WHERE page_key IS NOT NULL;

-- What a comment said before each edit.
CREATE TABLE collab.comment_revisions (
    comment_id uuid NOT NULL REFERENCES collab.comments (id) ON DELETE CASCADE,
    revision integer NOT NULL,
    text text NOT NULL,
    mentions text NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (comment_id, revision)
);

-- Commands that took effect, by the requestId their client gave them, with the answer to give again.
CREATE TABLE collab.requests (
    user_id text NOT NULL,
    request_id text NOT NULL,
    fingerprint bytea NOT NULL,
    answer text,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, request_id)
);

CREATE INDEX requests_created ON collab.requests (created_at);

-- How far a person has read a topic.
CREATE TABLE collab.read_marks (
    user_id text NOT NULL,
    topic_id bigint NOT NULL REFERENCES collab.topics (id) ON DELETE CASCADE,
    seq bigint NOT NULL DEFAULT 0,
    muted boolean NOT NULL DEFAULT false,
    muted_until timestamptz,
    PRIMARY KEY (user_id, topic_id)
);

CREATE INDEX comments_unread ON collab.comments (topic_id, seq) INCLUDE (author_id) WHERE deleted_at IS NULL;

-- migrate:down

DROP TABLE collab.read_marks;
DROP TABLE collab.requests;
DROP TABLE collab.comment_revisions;
DROP TABLE collab.comments;
DROP TABLE collab.events;
DROP TABLE collab.topics;
