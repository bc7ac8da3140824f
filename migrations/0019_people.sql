-- migrate:up

-- What people are called today, as whoever signs them in last said.
CREATE TABLE collab.people (
    user_id text PRIMARY KEY,
    name text NOT NULL,
    initials text NOT NULL,
    known_at timestamptz NOT NULL
);

-- migrate:down

DROP TABLE collab.people;
