-- migrate:up

-- What was ended before its time: sign-ins, tokens, all that a person had begun. Nodes load it when they start and look
-- for what is new. Of secrets only digests stand here.
CREATE TABLE collab.ended_sessions (
    mark       bytea PRIMARY KEY CHECK (octet_length(mark) = 32),
    user_id    text NOT NULL,
    ended_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    kept_until timestamptz NOT NULL
);

CREATE INDEX ended_sessions_by_time ON collab.ended_sessions (ended_at);
CREATE INDEX ended_sessions_of_a_person ON collab.ended_sessions (user_id, ended_at);
CREATE INDEX ended_sessions_by_end ON collab.ended_sessions (kept_until);

COMMENT ON COLUMN collab.ended_sessions.mark IS
    'SHA-256 of a sign-in, a token or a person: what is refused, of a person what began before ended_at';

-- migrate:down
DROP TABLE collab.ended_sessions;
