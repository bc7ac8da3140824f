-- migrate:up

-- The threads that people follow (true) or have muted (false). Nodes of the version before tell nobody for it.
CREATE TABLE collab.thread_marks (
    thread_id uuid NOT NULL,
    user_id text NOT NULL,
    topic_id bigint NOT NULL REFERENCES collab.topics (id) ON DELETE CASCADE,
    is_followed boolean NOT NULL,
    PRIMARY KEY (thread_id, user_id)
);

CREATE INDEX thread_marks_of_a_person ON collab.thread_marks (topic_id, user_id, thread_id);

-- migrate:down

DROP TABLE collab.thread_marks;
