-- migrate:up

-- Comments from before there was a search, or from nodes of that version, have no numbers and are never found. They get
-- a row without any; the job that makes older numbers anew fills it.
INSERT INTO collab.comment_terms (comment_id, topic_id, terms)
SELECT comment.id, comment.topic_id, '{}'
  FROM collab.comments AS comment
  LEFT JOIN collab.recent_terms AS recent
    ON recent.comment_id = comment.id
  LEFT JOIN collab.comment_terms AS settled
    ON settled.comment_id = comment.id
 WHERE comment.deleted_at IS NULL
   AND recent.comment_id IS NULL
   AND settled.comment_id IS NULL
    ON CONFLICT (comment_id) DO NOTHING;

-- migrate:down

DELETE FROM collab.comment_terms
 WHERE terms = '{}';
