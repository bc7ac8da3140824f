-- migrate:up
CREATE TABLE collab.installation (
    is_the_one boolean PRIMARY KEY DEFAULT true CHECK (is_the_one),
    epoch text NOT NULL,
    seal_key bytea NOT NULL CHECK (octet_length(seal_key) = 32),
    created_at timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE collab.installation IS 'One row: what all nodes on this database share';
COMMENT ON COLUMN collab.installation.epoch IS 'Random, renewed by collab-server new-epoch after a restore: clients then start anew';
COMMENT ON COLUMN collab.installation.seal_key IS 'Secret that seals resume tokens';

-- migrate:down
DROP TABLE collab.installation;
