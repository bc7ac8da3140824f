"""What clients make of texts, and the page of the demo of view states, whoever wrote them: run by Node, no browser."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from collab_server.domain.bodies import body_of, plain_text
from collab_server.domain.ids import library_id
from collab_server.domain.letters import whole_letters
from collab_server.domain.mentions import mentions_in
from collab_server.domain.search import highlights, parse_query
from collab_server.web import CLIENTS, STATIC
from tests.clients.languages import PLURALS, problems_of
from tests.harness.node_js import node_binary
from tests.harness.vectors import vectors

PARTS = [
    (0x300, 0x370), (0x600, 0x606), (0x900, 0x980), (0x980, 0xA00), (0xA80, 0xB00), (0xB80, 0xC00), (0xC00, 0xD80),
    (0xE00, 0xEE0), (0xF00, 0xFC0), (0x1000, 0x10A0), (0x1100, 0x1200), (0x1780, 0x17E0), (0x1A20, 0x1A80),
    (0x1B00, 0x1C00), (0xA960, 0xA9E0), (0xAC00, 0xD7A4), (0x11000, 0x110D0), (0x11130, 0x11150), (0x1F1E6, 0x1F200),
    (0x1F3FB, 0x1F400), (0x1F466, 0x1F46A), (0xE0020, 0xE0080), (0x2600, 0x2700), (0xFF70, 0xFFA0),
]  # fmt: skip
"""Blocks of which letters are made of parts."""

ANN = "A" * 32
TEAM = "B" * 32

SCRIPT = """
const [client, page] = process.argv.slice(1);
const { pieces } = await import(`${client}/mentions.js`);
const { filtersInWords, filtersOf } = await import(`${page}/js/views.js`);
const { PAGES, placeInWords } = await import(`${page}/js/figures.js`);
const { STRINGS } = await import(`${page}/js/strings.js`);
let given = "";
for await (const chunk of process.stdin) given += chunk;
const { texts, viewStates, anchors } = JSON.parse(given);
const shown = ({ text, mention }) => mention ? { mention: mention.name } : { text };
console.log(JSON.stringify({
  pieces: texts.map(([text, mentions]) => pieces(text, mentions).map(shown)),
  shown: viewStates.map((viewState) => [filtersInWords(viewState), filtersOf(viewState)]),
  places: anchors.map(placeInWords),
  strings: STRINGS,
  pages: PAGES.map(({ visualizations }) => visualizations.length),
}));
"""


def scripts(
    texts: list[Any] | None = None, view_states: list[Any] | None = None, anchors: list[Any] | None = None
) -> dict[str, Any]:
    given = {"texts": texts or [], "viewStates": view_states or [], "anchors": anchors or []}
    done = subprocess.run(
        [node_binary(), "--input-type=module", "-e", SCRIPT, CLIENTS["collab-client"] / "src", STATIC],
        input=json.dumps(given).encode(),
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


def test_every_place_can_be_shown() -> None:
    keys = [*ODD, "overview", "quarters", "revenue", "constructor"]
    anchors = [
        *ODD,
        *(
            {"pageKey": "overview", "visualizationKey": key, "dataPoint": point}
            for key in keys
            for point in ODD
        ),
        *({"pageKey": key} for key in keys),
    ]
    assert {type(place) for place in scripts(anchors=anchors)["places"]} == {str, type(None)}
    point = {"pageKey": "overview", "visualizationKey": "quarters", "dataPoint": {"Quarter": "Q3"}}
    assert scripts(anchors=[point])["places"] == ["Revenue by quarter · Q3"]


def test_the_page_says_everything_in_every_language() -> None:
    strings = scripts()["strings"]
    assert strings.keys() == PLURALS.keys()
    for language, words in strings.items():
        assert problems_of(language, words, strings["en"]) == [], language
    said = {"now"}  # by `Words.ago`
    for file in (STATIC / "js").glob("*.js"):
        said.update(re.findall(r'words\.say\(\s*"([\w.]+)"', file.read_text()))
    assert [key for key in sorted(said) if not {key, f"{key}.other"} & strings["en"].keys()] == []


def test_every_view_state_can_be_shown() -> None:
    filters = [{"name": name, "values": values} for name in ODD for values in ODD]
    filters += [{"name": name, "values": [value]} for name in ("Region", "constructor") for value in ODD]
    view_states = [
        *ODD,
        *({"filters": odd} for odd in ODD),
        *({"filters": [odd]} for odd in (*ODD, *filters)),
    ]
    view_states.append({"filters": [None, {"name": "Region", "values": [None, "North"]}, *filters]})
    shown = scripts(view_states=view_states)["shown"]
    for words, chosen in shown:
        assert words is None or len(words) <= 250
        assert chosen.keys() == {"Region", "Year"}
    assert scripts(view_states=[{"filters": [None, {"name": "Region", "values": ["North"]}]}])["shown"] == [
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
    assert scripts([[text, mentions]])["pieces"] == [expected]


CUT = """
const letters = new Intl.Segmenter("und", { granularity: "grapheme" });
let given = "";
for await (const chunk of process.stdin) given += chunk;
console.log(JSON.stringify(JSON.parse(given).map(([text, cut]) =>
  cut === text || [...letters.segment(text)].some(({ index }) => index === cut.length))));
"""


def test_where_the_server_cuts_a_text_no_browser_sees_a_letter_cut() -> None:
    """Intl.Segmenter is another implementation of UAX #29."""
    chance = random.Random(2)
    parts = [chr(chance.choice(range(*of))) for of in PARTS for _ in range(12)] + [
        *"ab \r\n\u200d\u200c\ufe0f"
    ]
    texts = ["a" + "".join(chance.choices(parts, k=40)) for _ in range(3000)]
    cuts = [[text, text[: whole_letters(text, chance.randint(1, 40)) or 1]] for text in texts]
    cuts = [[text, cut] for text, cut in cuts if len(cut) > 1]
    done = subprocess.run(
        [node_binary(), "--input-type=module", "-e", CUT],
        input=json.dumps(cuts).encode(), capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    wrong = [cut for cut, is_right in zip(cuts, json.loads(done.stdout), strict=True) if not is_right]
    assert wrong == []
    assert len(cuts) > 2500


def test_clients_find_the_mentions_that_the_server_finds() -> None:
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
    shown = scripts(texts)["pieces"]
    assert [{one["mention"] for one in made if "mention" in one} for made in shown] == expected


FOLD = """
const { fold } = await import(process.argv[1]);
let given = "";
for await (const chunk of process.stdin) given += chunk;
console.log(JSON.stringify(JSON.parse(given).map(({ kept, spelled }) => {
  const events = spelled.map((emoji, number) => ({ type: "reaction.added", data: { emoji, userId: `${number}` } }));
  const all = events.reduce(fold, { reactions: { [kept]: ["first"] } });
  const last = { type: "reaction.removed", data: { emoji: spelled[0], userId: "first" } };
  return fold(all, last).reactions;
})));
"""


def test_clients_fold_an_emoji_of_former_servers_into_the_same_reaction() -> None:
    same = vectors("emoji")["same"]
    done = subprocess.run(
        [node_binary(), "--input-type=module", "-e", FOLD, str(CLIENTS["collab-client"] / "src" / "fold.js")],
        input=json.dumps(same).encode(), capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    expected = [{one["kept"]: [str(number) for number in range(len(one["spelled"]))]} for one in same]
    assert json.loads(done.stdout) == expected


SAY = """
const { Words } = await import(`${process.argv[1]}/words.js`);
let given = "";
for await (const chunk of process.stdin) given += chunk;
const say = ([language, sentence, name]) => new Words(language, { sentence }).say("sentence", { name });
console.log(JSON.stringify(JSON.parse(given).map(say)));
"""


def test_a_name_in_a_sentence_turns_none_of_its_words() -> None:
    sentence = "{name} (3)"
    given = [
        ("en", sentence, "Ann", "Ann (3)"),
        ("en", sentence, "מיכל", "\u2068מיכל\u2069 (3)"),
        ("en", sentence, "\U0001e900", "\u2068\U0001e900\u2069 (3)"),
        ("en", sentence, "\u202enna", "\u2068\u202enna\u2069 (3)"),
        ("ar", "حساب {name}", "Ann", "حساب \u2068Ann\u2069"),
    ]
    done = subprocess.run(
        [node_binary(), "--input-type=module", "-e", SAY, str(CLIENTS["collab-panel"] / "src")],
        input=json.dumps([row[:3] for row in given]).encode(), capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout) == [row[3] for row in given]


FOUND = """
const { foundIn } = await import(process.argv[1]);
let given = "";
for await (const chunk of process.stdin) given += chunk;
console.log(JSON.stringify(JSON.parse(given).map(([comment, highlights]) => foundIn(comment, highlights))));
"""
SIGNS = [
    "**", "*", "__", "~~", "`", "[", "](https://a.example/b_c) ", "](https://a.example/%20x \"t\")", "<https://b.example>",
    "\\*", "\\[", "\n", "\n\n", "\n> ", "\n- ", "\n3. ", "\n```py\n", "\n```\n", " ", "a", "é😀",
    f"@[Who](user:{ANN})", "https://c.example",
]  # fmt: skip


def with_names(parts: list[Any]) -> list[Any]:
    """A body with the mentions in it as they are read."""
    return [
        {"type": "text", "text": "@Ann"}
        if part["type"] == "mention"
        else {**part, "children": with_names(part.get("children", []))}
        for part in parts
    ]


def test_what_was_found_is_read_without_the_signs_of_markdown_and_marked(tmp_path: Path) -> None:
    # What is asked of the client stands beside it, as where a node serves it.
    shutil.copy(CLIENTS["collab-panel"] / "src" / "found.js", tmp_path / "found.mjs")
    mentions_js = (CLIENTS["collab-client"] / "src" / "mentions.js").as_uri()
    (tmp_path / "client.js").write_text(f'export {{ pieces }} from "{mentions_js}";')

    random_one = random.Random(7)
    given: list[Any] = []
    expected = []
    mentions = [{"kind": "user", "id": ANN, "name": "Ann"}]
    while len(given) < 500:
        signs = random_one.choices(SIGNS, k=random_one.randint(0, 12))
        signs.insert(random_one.randint(0, len(signs)), random_one.choice(["needle", " needle "]))
        text = "".join(signs)
        body = body_of(text)
        spans = highlights(parse_query("needle"), text)
        if spans is None:
            continue
        parts = None if body is None else json.loads(body)
        written = f"@[Who](user:{ANN})"
        read = text.replace(written, "@Ann") if parts is None else plain_text(with_names(parts))
        given.append(({"text": text, "body": parts, "mentions": mentions}, spans))
        expected.append((read.strip(), ["needle"] if "needle" in read else []))
    done = subprocess.run(
        [node_binary(), "--input-type=module", "-e", FOUND, tmp_path / "found.mjs"],
        input=json.dumps(given).encode(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    for (comment, _), (read, marked), shown in zip(given, expected, json.loads(done.stdout), strict=True):
        assert "".join(part for part, _ in shown).lstrip("…").strip() in read, comment
        assert [part for part, is_found in shown if is_found] == marked, comment
