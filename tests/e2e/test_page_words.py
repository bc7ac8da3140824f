"""What the page makes of texts and view states, whoever wrote them: run by Node.js, without a browser."""

from __future__ import annotations

import json
import random
import subprocess
from typing import Any

import pytest

from collab_server.domain.comments import mentions_in
from collab_server.domain.ids import library_id
from collab_server.web import STATIC
from tests.integration.official import node_binary

ANN = "A" * 32
TEAM = "B" * 32

SCRIPT = """
const { pieces, filtersInWords } = await import(`${process.argv[1]}/js/words.js`);
const { filtersOf } = await import(`${process.argv[1]}/js/dashboard.js`);
let given = "";
for await (const chunk of process.stdin) given += chunk;
const { texts, viewStates } = JSON.parse(given);
const shown = viewStates.map((viewState) => [filtersInWords(viewState), filtersOf(viewState)]);
console.log(JSON.stringify({ pieces: texts.map(([text, mentions]) => pieces(text, mentions)), shown }));
"""


def page(texts: list[Any] | None = None, view_states: list[Any] | None = None) -> dict[str, Any]:
    done = subprocess.run(
        [node_binary(), "--input-type=module", "-e", SCRIPT, str(STATIC)],
        input=json.dumps({"texts": texts or [], "viewStates": view_states or []}).encode(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


ODD: list[Any] = [
    None, True, 0, -1.5e300, "", "text", [], {}, [None], {"filters": None}, {"name": "Region"},
    {"toString": 1, "valueOf": None}, {"__proto__": None}, [[[]]], "\u202e", "x" * 5000,
]  # fmt: skip


def test_every_view_state_can_be_shown() -> None:
    filters = [{"name": name, "values": values} for name in ODD for values in ODD]
    filters += [{"name": name, "values": [value]} for name in ("Region", "constructor") for value in ODD]
    view_states = [
        *ODD,
        *({"filters": odd} for odd in ODD),
        *({"filters": [odd]} for odd in (*ODD, *filters)),
    ]
    view_states.append({"filters": [None, {"name": "Region", "values": [None, "North"]}, *filters]})
    shown = page(view_states=view_states)["shown"]
    for words, chosen in shown:
        assert words is None or len(words) <= 250
        assert chosen.keys() == {"Region", "Year"}
    assert page(view_states=[{"filters": [None, {"name": "Region", "values": ["North"]}]}])["shown"] == [
        ["Region: North", {"Region": "North", "Year": ""}]
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"@[Whoever](user:{ANN}) hi", [{"mention": "Ann"}, {"text": " hi"}]),
        (f"to @[x](group:{TEAM.lower()})", [{"text": "to "}, {"mention": "The team"}]),
        (f"@[A\nnn](user:{ANN})", [{"text": f"@[A\nnn](user:{ANN})"}]),
        (f"@[Ann](user:{'C' * 32})", [{"text": f"@[Ann](user:{'C' * 32})"}]),
    ],
)
def test_people_are_shown_by_the_names_that_library_knows(text: str, expected: list[Any]) -> None:
    mentions = [{"kind": "user", "id": ANN, "name": "Ann"}, {"kind": "group", "id": TEAM, "name": "The team"}]
    assert page([[text, mentions]])["pieces"] == [expected]


def test_the_page_finds_the_mentions_that_the_server_finds() -> None:
    chance = random.Random(1)
    words = [
        "@[", "](", "]", "[", "user:", "group:", ANN, ANN.lower(), TEAM, ")", "(", "Ann", "\n", "\r", "\u2028",
        "\U0001f600", " ", "@", ANN[:-1],
    ]  # fmt: skip
    texts, expected = [], []
    for _ in range(400):
        pieces = [chance.choice(words) for _ in range(chance.randint(1, 8))]
        if chance.random() < 0.7:
            shown = "".join(
                chance.choice(words[:1] + words[10:17]) for _ in range(chance.choice((1, 3, 255, 256, 257)))
            )
            pieces.insert(chance.randint(0, len(pieces)), f"@[{shown}](user:{ANN})")
        text = "".join(pieces)
        try:
            found = mentions_in(text, 1000, library_id)
        except Exception:  # an id that cannot be one: no such text is stored
            continue
        texts.append([text, [{"kind": one.kind, "id": one.id, "name": f"«{one.kind}»"} for one in found]])
        expected.append({f"«{one.kind}»" for one in found})
    assert sum(map(bool, expected)) > 50
    found_by_page = page(texts)["pieces"]
    assert [{one["mention"] for one in made if "mention" in one} for made in found_by_page] == expected
