-- migrate:up

-- What must happen once in a cluster: who does it now, and when it is due again. All times are the database's.
CREATE TABLE collab.jobs (
    name         text PRIMARY KEY,
    fence        bigint NOT NULL,       -- rises with every claim: whoever holds an earlier one commits nothing any more
    holder       text,                  -- the node that has claimed it; none does while it is NULL
    leased_until timestamptz,           -- for so long without being renewed; then another node may claim it
    due_at       timestamptz NOT NULL,
    done_at      timestamptz            -- when it was last done
);

-- migrate:down

DROP TABLE collab.jobs;
