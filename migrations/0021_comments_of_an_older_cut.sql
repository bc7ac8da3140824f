-- migrate:up transaction:false

-- Those whose numbers were not made by cut 2 (collab_server/domain/search.py, CUT_TERM): to be made anew, and asked for
-- by the numbers of the cut before until then. It is empty afterwards. Nodes of the version before give no such number.
CREATE INDEX CONCURRENTLY IF NOT EXISTS comment_terms_older ON collab.comment_terms (comment_id)
 WHERE NOT terms @> ARRAY[2080374786];

-- migrate:down transaction:false

DROP INDEX CONCURRENTLY collab.comment_terms_older;
