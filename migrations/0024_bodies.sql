-- migrate:up

-- What a comment written as markdown is shown as, JSON; NULL where it is shown as it was written, as most are.
ALTER TABLE collab.comments ADD COLUMN body text;

-- No body outlives the text that it was made of, also where a node of the version before changes or deletes that.
CREATE FUNCTION collab.forget_body() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    NEW.body := NULL;
    RETURN NEW;
END
$$;

CREATE TRIGGER forget_body BEFORE UPDATE OF text ON collab.comments
    FOR EACH ROW WHEN (OLD.body IS NOT NULL) EXECUTE FUNCTION collab.forget_body();

-- migrate:down

DROP TRIGGER forget_body ON collab.comments;
DROP FUNCTION collab.forget_body();
ALTER TABLE collab.comments DROP COLUMN body;
