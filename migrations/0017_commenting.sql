-- migrate:up

-- Whether people may comment on an object at all; changed only under the row's lock, by administrators. Nodes of the
-- version before do not look at it.
ALTER TABLE collab.topics ADD COLUMN commenting boolean NOT NULL DEFAULT true;

-- migrate:down

ALTER TABLE collab.topics DROP COLUMN commenting;
