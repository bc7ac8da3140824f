-- migrate:up

-- A key is replaced without signing anybody out: nodes open with the next one before it seals, and with the earlier one
-- after it has sealed.
ALTER TABLE collab.installation
    ADD COLUMN next_seal_key bytea CHECK (octet_length(next_seal_key) = 32),
    ADD COLUMN earlier_seal_key bytea CHECK (octet_length(earlier_seal_key) = 32),
    ADD COLUMN secret_check bytea,
    ADD COLUMN secret_since timestamptz;

COMMENT ON COLUMN collab.installation.seal_key IS
    'Seals resume tokens, cursors and what the nodes tell each other, together with the secret of the configuration';
COMMENT ON COLUMN collab.installation.secret_check IS
    'By which a node knows whether its secret is that of the others; NULL: not all nodes have had one yet';

-- migrate:down
ALTER TABLE collab.installation
    DROP COLUMN next_seal_key,
    DROP COLUMN earlier_seal_key,
    DROP COLUMN secret_check,
    DROP COLUMN secret_since;
