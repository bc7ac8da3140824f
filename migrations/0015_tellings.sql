-- migrate:up

-- What people are told elsewhere than in their inbox, by the channels of the configuration: stored in the transaction that
-- puts the notification into the inbox, and dropped once it was told. Nodes of the version before store none.
CREATE TABLE collab.tellings (
    notification_id uuid NOT NULL REFERENCES collab.notifications (id) ON DELETE CASCADE,
    channel text NOT NULL,
    tries integer NOT NULL DEFAULT 0,
    due_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (notification_id, channel)
);

CREATE INDEX tellings_due ON collab.tellings (channel, due_at);

-- migrate:down

DROP TABLE collab.tellings;
