"""Finding comments.

Rights come before text. What is looked for never decides where it is looked for: a page first settles which topics
its asker may read, some of them at a time, in an order that knows nothing of the query; only then it searches, and
only there. First come the asker's discussions, then, by turns, content that the asker has had to do with and all
other content, the newest topics first. For a page Library is asked at most `MOST_CALLS` times. So what stands where
the asker may not read does the same as what stands nowhere: the same answer, the same questions to Library, the same
statements to PostgreSQL. When an answer leaves is up to chance, by more than what is left: the microseconds that an
index takes over a longer list of numbers.

In what a page has settled the search goes back in time, the newest first. A page ends when it is full or has cost
enough; its cursor, which is sealed, goes on from there.

Downwards: `page` (the command: what fills one page), `rights` (which topics its asker may read), `back_in_time`
(where in these the words stand), `settling` (what keeps the index in shape), `recutting` (what brings it up to date).
"""

from collab_server.services.search.page import answer_after, search_comments
from collab_server.services.search.recutting import recut, reindex
from collab_server.services.search.rights import MOST_CALLS
from collab_server.services.search.settling import Settling, settle

__all__ = ["MOST_CALLS", "Settling", "answer_after", "recut", "reindex", "search_comments", "settle"]
