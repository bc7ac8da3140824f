-- migrate:up transaction:false

-- One emoji could be two reactions, with and without U+FE0F. Each is kept fully qualified now, as
-- collab_server/domain/emoji.py says, and reactions in several spellings become one: the first one's place, nobody twice.
-- Some comments a transaction, so that nobody who reacts or edits meanwhile waits. What nodes of the version before still
-- write in another spelling is read as if it were the one. The log keeps what was said then.
DO $$
DECLARE
    selectors constant text := chr(65038) || chr(65039);
    text_by_default constant text := '(['
           || '#*0-9\u00a9\u00ae\u203c\u2049\u2122\u2139\u2194-\u2199\u21a9\u21aa\u2328\u23cf\u23ed-\u23ef'
           || '\u23f1\u23f2\u23f8-\u23fa\u24c2\u25aa\u25ab\u25b6\u25c0\u25fb\u25fc\u2600-\u2604\u260e\u2611'
           || '\u2618\u261d\u2620\u2622\u2623\u2626\u262a\u262e\u262f\u2638-\u263a\u2640\u2642\u265f\u2660'
           || '\u2663\u2665\u2666\u2668\u267b\u267e\u2692\u2694-\u2697\u2699\u269b\u269c\u26a0\u26a7'
           || '\u26b0\u26b1\u26c8\u26cf\u26d1\u26d3\u26e9\u26f0\u26f1\u26f4\u26f7-\u26f9\u2702\u2708\u2709'
           || '\u270c\u270d\u270f\u2712\u2714\u2716\u271d\u2721\u2733\u2734\u2744\u2747\u2763\u2764\u27a1'
           || '\u2934\u2935\u2b05-\u2b07\u3030\u303d\u3297\u3299\U0001F170\U0001F171\U0001F17E\U0001F17F'
           || '\U0001F202\U0001F237\U0001F321\U0001F324-\U0001F32C\U0001F336\U0001F37D\U0001F396\U0001F397'
           || '\U0001F399-\U0001F39B\U0001F39E\U0001F39F\U0001F3CB-\U0001F3CE\U0001F3D4-\U0001F3DF\U0001F3F3'
           || '\U0001F3F5\U0001F3F7\U0001F43F\U0001F441\U0001F4FD\U0001F549\U0001F54A\U0001F56F\U0001F570'
           || '\U0001F573-\U0001F579\U0001F587\U0001F58A-\U0001F58D\U0001F590\U0001F5A5\U0001F5A8'
           || '\U0001F5B1\U0001F5B2\U0001F5BC\U0001F5C2-\U0001F5C4\U0001F5D1-\U0001F5D3\U0001F5DC-\U0001F5DE'
           || '\U0001F5E1\U0001F5E3\U0001F5E8\U0001F5EF\U0001F5F3\U0001F5FA\U0001F6CB\U0001F6CD-\U0001F6CF'
           || '\U0001F6E0-\U0001F6E5\U0001F6E9\U0001F6F0\U0001F6F3'
           || '])(?![\U0001F3FB-\U0001F3FF])';
    kept constant text := '\1' || chr(65039);
    written record;
    places integer := 0;
BEGIN
    FOR written IN
        SELECT comment.id
          FROM collab.comments AS comment
         WHERE comment.reactions <> '{}'
           AND EXISTS (
               SELECT
                 FROM json_object_keys(comment.reactions::json) AS emoji
                WHERE emoji <> regexp_replace(translate(emoji, selectors, ''), text_by_default, kept, 'g')
               )
    LOOP
        UPDATE collab.comments AS comment
           SET reactions = (
               SELECT '{' || string_agg(to_json(one.emoji)::text || ':[' || one.users || ']', ',' ORDER BY one.place) || '}'
                 FROM (
                      SELECT person.emoji,
                             min(person.place) AS place,
                             string_agg(to_json(person.id)::text, ',' ORDER BY person.place, person.position) AS users
                        FROM (
                             SELECT DISTINCT ON (spelled.emoji, id) spelled.emoji, id, spelled.place, position
                               FROM (
                                    SELECT regexp_replace(translate(key, selectors, ''), text_by_default, kept, 'g') AS emoji,
                                           value, place
                                      FROM json_each(comment.reactions::json) WITH ORDINALITY AS each (key, value, place)
                                    ) AS spelled
                              CROSS JOIN json_array_elements_text(spelled.value) WITH ORDINALITY AS users (id, position)
                              ORDER BY spelled.emoji, id, spelled.place, position
                             ) AS person
                       GROUP BY person.emoji
                      ) AS one
               )
         WHERE comment.id = written.id
           AND comment.reactions <> '{}';
        places := places + 1;
        IF places % 200 = 0 THEN
            COMMIT;
        END IF;
    END LOOP;
END
$$;

-- migrate:down

SELECT;
