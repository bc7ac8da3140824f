-- migrate:up transaction:false

-- What a deleted comment said stands in the answer to its author's command too, kept for whoever repeats it. An answer
-- about one object begins with its name and id.
CREATE INDEX CONCURRENTLY IF NOT EXISTS requests_about
    ON collab.requests (substr(answer, strpos(left(answer, 40), '"id":"') + 6, 36))
 WHERE strpos(left(answer, 40), '"id":"') > 0;

-- migrate:down transaction:false

DROP INDEX CONCURRENTLY collab.requests_about;
