-- migrate:up

-- By these, nodes tell a database that went back in time from one that only moved to another server.
ALTER TABLE collab.installation
    ADD COLUMN timeline text,
    ADD COLUMN renewals bigint NOT NULL DEFAULT 0;

COMMENT ON COLUMN collab.installation.timeline IS
    'Of which server, in which of its histories, a node last knew that no commit is missing; NULL: not known';
COMMENT ON COLUMN collab.installation.renewals IS 'How often the epoch was renewed: a row with less is an old one put back';
COMMENT ON COLUMN collab.installation.epoch IS
    'Random, renewed when commits were lost, and by collab-server new-epoch after a restore: clients then start anew';

-- migrate:down
ALTER TABLE collab.installation
    DROP COLUMN timeline,
    DROP COLUMN renewals;
