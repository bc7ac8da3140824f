"""Measures of the house: what of a package's source is larger, or more tangled, than agreed.

Everything here reads source and runs none of it. A `Sources` is a package by the dotted names of its modules; each
measure gives the names of what it found, with how much, so that a test can hold them against what is agreed.
"""

import ast
import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

Sources = Mapping[str, str]
"""Dotted name of a module (a package's own is that of its folder) → its source."""

Found = dict[str, int]
"""Name of what is more than agreed → how much it is."""

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef)


@functools.lru_cache(maxsize=1000)
def nodes_of(text: str) -> tuple[tuple[str, ast.AST], ...]:
    """Every node of a module's source with the dotted name of the class and function it is in; read once for all that
    is measured of it."""
    return tuple(_with_owners(ast.parse(text)))


def sources_of(package: Path, *, without: Iterable[str] = ()) -> dict[str, str]:
    """The sources below the folder `package`, without the folders in it that are named."""
    left_out = set(without)
    found = {}
    for path in sorted(package.rglob("*.py")):
        inside = path.relative_to(package).with_suffix("").parts
        if not left_out.intersection(inside[:-1]):
            parts = [package.name, *inside]
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text()
    return found


def circles(sources: Sources, packages: Iterable[str]) -> Found:
    """Modules that import one another, at whatever place: at the top, inside a function, under TYPE_CHECKING.

    They are named without the package that all are in.

    `packages` names those modules that are a folder's `__init__`. That importing a module runs the `__init__` of the
    folders above it counts for nothing here: it is so for every module.
    """
    known = set(sources)
    folders = set(packages)
    arrows = {
        name: set(_imports(name, name in folders, text, known)) - {name} for name, text in sources.items()
    }
    return {
        " ↔ ".join(_inside(name) for name in sorted(part)): len(part)
        for part in _components(arrows)
        if len(part) > 1
    }


def _inside(name: str) -> str:
    return name.partition(".")[2] or name


def packages_of(package: Path) -> set[str]:
    """The dotted names of the folders with an `__init__` below `package`, itself included."""
    return {
        ".".join([package.name, *path.relative_to(package).parts[:-1]])
        for path in package.rglob("__init__.py")
    }


def _imports(module: str, is_package: bool, text: str, known: set[str]) -> Iterator[str]:
    for _, node in nodes_of(text):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            base = module.split(".")
            if node.level:
                base = base[: len(base) - node.level + is_package]
            start = ".".join([*(base if node.level else []), *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{start}.{alias.name}"
                if inner in known:
                    yield inner
                elif start in known:
                    yield start


def _components(arrows: Mapping[str, set[str]]) -> list[set[str]]:
    """The strongly connected parts of a graph: who reaches whom, and is reached."""
    reached = {name: _reachable(name, arrows) for name in arrows}
    left = set(arrows)
    parts = []
    while left:
        name = min(left)
        part = {name} | {other for other in reached[name] if name in reached[other]}
        parts.append(part)
        left -= part
    return parts


def _reachable(start: str, arrows: Mapping[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    ahead = [start]
    while ahead:
        for other in arrows[ahead.pop()] - seen:
            seen.add(other)
            ahead.append(other)
    return seen


def long_files(sources: Sources, most: int) -> Found:
    """Modules of more than `most` lines."""
    return {name: n for name, text in sources.items() if (n := len(text.splitlines())) > most}


def long_classes(sources: Sources, most: int) -> Found:
    """Classes of more than `most` lines, from `class` to the last line of the last method."""
    return _measured(sources, ast.ClassDef, _lines, most)


def long_functions(sources: Sources, most: int) -> Found:
    """Functions and methods of more than `most` lines, docstring and functions inside included."""
    return _measured(sources, _FUNCTIONS, _lines, most)


def many_arguments(sources: Sources, most: int) -> Found:
    """Functions and methods that take more than `most` arguments, not counting `self` and `cls`.

    What overrides another's method has not chosen its arguments, and is not looked at.
    """
    return _measured(sources, _FUNCTIONS, _arguments, most)


def many_attributes(sources: Sources, most: int) -> Found:
    """Classes whose `__init__` sets more than `most` attributes of `self`."""
    return _measured(sources, ast.ClassDef, _attributes, most)


def lambdas(sources: Sources) -> Found:
    """How many lambdas there are, per module that has any."""
    return _counted(sources, lambda node: isinstance(node, ast.Lambda))


def hooks_set_later(sources: Sources) -> Found:
    """How many assignments there are, per module, to an attribute of something else than `self`: `door.on_x = y`."""

    def is_hook(node: ast.AST) -> bool:
        if isinstance(node, ast.Assign):
            targets = [inner for target in node.targets for inner in _flat(target)]
        elif isinstance(node, ast.AnnAssign | ast.AugAssign):
            targets = [node.target]
        else:
            return False
        return any(
            isinstance(target, ast.Attribute)
            and not (isinstance(target.value, ast.Name) and target.value.id in {"self", "cls"})
            for target in targets
        )

    return _counted(sources, is_hook)


_WIRING: Final = re.compile(r"(?:serve|listen|on_\w+|include|depends_on|register)")


def told_later(sources: Sources) -> Found:
    """How many calls there are, per module, that give a part what it works with when it is made already:
    `status.depends_on(x)`, `bus.on_gap(y)`. A call that gives nothing wires nothing: `hangup.listen()`."""

    def is_wiring(node: ast.AST) -> bool:
        return (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and bool(_WIRING.fullmatch(node.func.attr))
            and bool(node.args or node.keywords)
        )

    return _counted(sources, is_wiring)


_JSON_BRACE = re.compile(r'\{\s*"|(?:^|[{,])\s*"[A-Za-z_]\w*"\s*:')
_JSON_IN_SQL = re.compile(r"jsonb?_|::jsonb?\b|\b(SELECT|INSERT|UPDATE)\b")


def hand_braced_json(sources: Sources) -> Found:
    """How many texts there are, per function, that write JSON by hand: `'{"seq":'`, `f'{{"a":{b}}}'`.

    Docstrings are not looked at, nor what is SQL.
    """
    found: Found = {}
    for module, text in sources.items():
        for owner, node in nodes_of(text):
            is_prose = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            for child in () if is_prose else ast.iter_child_nodes(node):
                if isinstance(child, ast.Constant) and _is_json(child.value):
                    name = f"{module}:{owner}" if owner else module
                    found[name] = found.get(name, 0) + 1
    return found


def _is_json(value: object) -> bool:
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    return isinstance(text, str) and bool(_JSON_BRACE.search(text)) and not _JSON_IN_SQL.search(text)


def _with_owners(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    ahead: list[tuple[str, ast.AST]] = [("", tree)]
    while ahead:
        owner, node = ahead.pop()
        yield owner, node
        if isinstance(node, (ast.ClassDef, *_FUNCTIONS)):
            owner = f"{owner}.{node.name}" if owner else node.name
        ahead.extend((owner, child) for child in ast.iter_child_nodes(node))


def _measured(
    sources: Sources,
    kind: type[ast.AST] | tuple[type[ast.AST], ...],
    measure: Callable[[ast.AST], int],
    most: int,
) -> Found:
    found: Found = {}
    for module, text in sources.items():
        for owner, node in nodes_of(text):
            if isinstance(node, kind) and (n := measure(node)) > most:
                own = getattr(node, "name", "")
                found[f"{module}:{owner}.{own}" if owner else f"{module}:{own}"] = n
    return found


def _counted(sources: Sources, is_one: Callable[[ast.AST], bool]) -> Found:
    counts = {module: sum(is_one(node) for _, node in nodes_of(text)) for module, text in sources.items()}
    return {module: n for module, n in counts.items() if n}


def _lines(node: ast.AST) -> int:
    assert isinstance(node, ast.stmt)
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def _arguments(node: ast.AST) -> int:
    assert isinstance(node, _FUNCTIONS)
    if any(
        isinstance(decorator, ast.Name) and decorator.id == "override" for decorator in node.decorator_list
    ):
        return 0
    given = [*node.args.posonlyargs, *node.args.args]
    if given and given[0].arg in {"self", "cls"}:
        given = given[1:]
    return len([*given, *node.args.kwonlyargs, *filter(None, (node.args.vararg, node.args.kwarg))])


def _attributes(node: ast.AST) -> int:
    assert isinstance(node, ast.ClassDef)
    names: set[str] = set()
    for constructor in node.body:
        if isinstance(constructor, _FUNCTIONS) and constructor.name == "__init__":
            for inner in ast.walk(constructor):
                if isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store):
                    if isinstance(inner.value, ast.Name) and inner.value.id == "self":
                        names.add(inner.attr)
    return len(names)


def _flat(target: ast.expr) -> Iterator[ast.expr]:
    if isinstance(target, ast.Tuple | ast.List):
        for inner in target.elts:
            yield from _flat(inner)
    else:
        yield target


def judge(found: Found, agreed: Mapping[str, str]) -> list[str]:
    """What is wrong, a sentence each: found and not agreed; agreed, and no longer found. Nothing: all is well.

    What is agreed is named without its module, so that it may move: the last part of a name, behind the colon if
    there is one, else the whole.
    """
    named = {_short(name): f"{name} ({much})" for name, much in found.items()}
    new = [f"new: {where}" for name, where in named.items() if name not in agreed]
    gone = [f"no longer needed, take it out of the table: {name}" for name in agreed if name not in named]
    return [*new, *gone]


def _short(name: str) -> str:
    return name.rpartition(":")[2]
