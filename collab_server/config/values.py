"""The kinds of values in `config.json`, and the sections that the rest of the program is given.

Every message says what was expected; none repeats what was given, for it may hold a password.
"""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationInfo
from pydantic_core import PydanticCustomError

from collab_server.domain import origins
from collab_server.domain.commenting import parse_circles
from collab_server.domain.ids import opaque_id
from collab_server.errors import Invalid

_JSON_TYPES: tuple[tuple[type, str], ...] = (
    (bool, "true or false"),
    (int, "a number"),
    (float, "a number"),
    (str, "a string"),
    (list, "an array"),
    (dict, "an object"),
)


def json_type(value: object) -> str:
    """The JSON type of `value` in words: "an array"."""
    return next((words for kind, words in _JSON_TYPES if isinstance(value, kind)), "null")


def refuse(message: str) -> PydanticCustomError:
    """The error by which a validator says what it expected; pydantic collects it."""
    return PydanticCustomError("collab", "{message}", {"message": message})


def _path(value: object, info: ValidationInfo) -> Path:
    if not isinstance(value, str | Path):
        raise refuse(f"expected a path (a string), not {json_type(value)}")
    if not str(value) or "\0" in str(value):
        raise refuse("must not be empty" if not str(value) else "is not a path")
    directory = (info.context or {}).get("directory") or Path.cwd()
    return Path(os.path.normpath(directory / value))


def _split_url(url: str, schemes: tuple[str, ...], example: str) -> SplitResult:
    """`urlsplit` with every failure said in our words: urllib's own would repeat parts of a password."""
    if any(character.isspace() or character in "<>" for character in url):
        raise refuse(f"is not a URL: it holds blanks or a placeholder's <…>; expected one like {example}")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise refuse(f"is not a URL; expected one like {example}") from None
    if parts.scheme not in schemes or not url.lower().startswith(f"{parts.scheme}://"):
        raise refuse(f"must begin with {schemes[0]}:// or {schemes[1]}://, like {example}")
    return parts


def _split_url_of_hosts(url: str, schemes: tuple[str, ...], example: str) -> SplitResult:
    """`_split_url` of a URL that may name several hosts, with any of them in brackets: urllib knows one, and its later
    versions refuse more."""
    head, separator, rest = url.partition("://")
    netloc = re.split("[/?#]", rest, maxsplit=1)[0]
    bare = netloc.replace("[", "").replace("]", "")
    parts = _split_url(f"{head}{separator}{bare}{rest[len(netloc) :]}", schemes, example)
    return parts._replace(netloc=netloc)


def _host_and_port(parts: SplitResult, example: str) -> tuple[str | None, int | None]:
    try:
        return parts.hostname, parts.port
    except ValueError:
        raise refuse(
            f"has a wrong host or port; expected a URL like {example} (in a password, write"
            " / ? # @ : %-encoded)"
        ) from None


def _refuse_unless_name(host: str) -> None:
    """Refuse what nobody could look up: the system would not say so in words."""
    if ":" in host and not _is_ipv6(host):
        raise refuse("names a host that none can have: only an address of IPv6 holds colons")
    is_name = bool(host) and not any(character.isspace() or not character.isprintable() for character in host)
    try:
        host.encode("idna")
    except UnicodeError:
        is_name = False
    if not is_name:
        raise refuse("names a host that none can have: 1 to 63 letters, digits and - between its dots")


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False


def _page_url(url: str) -> str:
    return _web_url(url, "https://library.example.com/MicroStrategyLibrary")


def _web_url(url: str, example: str = "https://library.example.com/MicroStrategyLibrary/api") -> str:
    parts = _split_url(url, ("https", "http"), example)
    host, _ = _host_and_port(parts, example)
    if not host:
        raise refuse(f"names no host; expected a URL like {example}")
    _refuse_unless_name(host)
    if "@" in parts.netloc:
        raise refuse("must not hold a user name or password")
    if parts.query or parts.fragment:
        raise refuse("must not hold ? or #")
    return url.rstrip("/")


def origin_of(url: str) -> str | None:
    """The origin of the pages at a URL, as browsers send it; None where no browser understands its host."""
    parts = urlsplit(url)
    try:
        return str(origins.parse(f"{parts.scheme}://{parts.netloc}"))
    except origins.NoOrigin:
        return None


def _origin(value: str) -> str:
    try:
        return origins.parse_allowed(value)
    except origins.NoOrigin as error:
        raise refuse(str(error)) from None


def is_this_machine(host: str | None) -> bool:
    """Whether a host is this machine: loopback, by number or name, or the path of a socket file."""
    if not host or host.startswith("/") or host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


HostAndPort = tuple[str, int]
"""A host name or address (IPv6 without brackets) and a port."""

MOST_HOSTS = 16
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+(?:%[^\[\]:,@/\s]+)?)\]|([^\[\]:,@]+))(?::(\d{1,5}))?")


def shown(host: str, port: int) -> str:
    """An address as people write it, IPv6 with brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _hosts(text: str, default_port: int) -> tuple[HostAndPort, ...] | None:
    """What `host[:port]`, several of them with commas between, says; None where it says nothing."""
    found = []
    for one in text.split(","):
        matched = _HOST.fullmatch(one.strip())
        port = default_port if matched is None or matched[3] is None else int(matched[3])
        if matched is None or not 0 < port < 65536 or (matched[1] and not _is_ipv6(matched[1])):
            return None
        host = matched[1] or matched[2]
        _refuse_unless_name(host)
        found.append((host, port))
    return tuple(found) if len(found) <= MOST_HOSTS else None


def database_hosts(value: str, default_port: int) -> tuple[HostAndPort, ...]:
    """The hosts of `dataSource.host`, in order: one, or several that may be the primary. Raises what `refuse` makes."""
    if not value or value == "[]":
        raise refuse("must not be empty")
    if "," not in value and (value.startswith("/") or _is_ipv6(value)):
        return ((value, default_port),)  # a folder of sockets, an address of IPv6
    return _database_hosts(value, default_port)


def _database_hosts(text: str, default_port: int) -> tuple[HostAndPort, ...]:
    found = _hosts(text, default_port)
    if found is None:
        raise refuse(
            f"expected a host, or up to {MOST_HOSTS} like db1.example.com,db2.example.com:5433 (an address of IPv6 with"
            " a port, or beside others, in brackets: [fd00::5]:5433)"
        )
    return found


def _database_host(value: str) -> str:
    database_hosts(value, 5432)
    return value


def _user_id(value: str, info: ValidationInfo) -> str:
    authorization = info.data.get("authorization")
    if authorization is not None and authorization.kind != "library":
        if re.fullmatch(r"[A-Za-z0-9._~@+-]{1,64}", value) is None:
            raise refuse("expected the id of a user: 1 to 64 letters, digits and ._~@+-")
        return value
    if re.fullmatch(r"[0-9A-Fa-f]{32}", value) is None:
        raise refuse("expected the id of a user, 32 hex digits")
    return value.upper()


def _circles(words: tuple[str, ...]) -> tuple[str, ...]:
    try:
        parse_circles(words)
    except Invalid as error:
        raise refuse(error.message) from None
    return words


def _project_id(value: str) -> str:
    try:
        return opaque_id(value, "project")
    except Invalid as error:
        raise refuse(error.message) from None


def _proxy(value: str) -> str:
    if value == "*":
        return value
    try:
        ipaddress.ip_network(value)
    except ValueError:
        raise refuse("expected an IP address, a network like 10.0.0.0/8, or *") from None
    return value


@dataclass(frozen=True, slots=True)
class DatabaseSection:
    """Where Postgres is: `hosts`, of which any may be the primary. `is_tls` always means verified: certificate chain
    and host name.

    Without `root_cert_file` the machine's own CAs are trusted.
    """

    username: str
    password: SecretStr | None
    hosts: tuple[HostAndPort, ...]
    database: str
    is_tls: bool = False
    root_cert_file: Path | None = None
    client_cert_file: Path | None = None
    client_key_file: Path | None = None
    pool_size: int = 10
    read_pool_size: int = 5

    @property
    def host(self) -> str:
        """The first host."""
        return self.hosts[0][0]

    @property
    def port(self) -> int:
        """Its port."""
        return self.hosts[0][1]


@dataclass(frozen=True, slots=True)
class RedisSection:
    """Where Redis is: one server, several nodes of a Redis Cluster, or with `sentinel_master` the Sentinels that know
    where that master is.

    `username` and `password` are those of Redis itself; Sentinels have their own, if any.
    """

    hosts: tuple[HostAndPort, ...]
    username: str | None = None
    password: SecretStr | None = None
    database: int = 0
    is_tls: bool = False
    sentinel_master: str | None = None
    sentinel_username: str | None = None
    sentinel_password: SecretStr | None = None
    trusted_certs: tuple[Path, ...] = ()
    client_cert_file: Path | None = None
    client_key_file: Path | None = None


@dataclass(frozen=True, slots=True)
class HandoverSection:
    """Where a node listens for what other nodes hand over to it: at `host`, or at the address by which it reaches one
    of `towards`; at `port`, or any that is free if that is 0."""

    host: str | None
    port: int
    towards: tuple[HostAndPort, ...]


@dataclass(frozen=True, slots=True)
class ServerTlsSection:
    """The server's certificate: a PEM pair, or a PKCS12 store with its passphrase; one of the two."""

    pem: tuple[Path, Path] | None = None  # certificate, private key
    keystore_file: Path | None = None
    passphrase: SecretStr | None = None


def parse_dburl(url: str) -> DatabaseSection:
    """What a `dburl` says. Raises what `refuse` makes."""
    example = "postgres://user:password@localhost:5432/mstr_collab"
    parts = _split_url_of_hosts(url, ("postgres", "postgresql"), example)
    credentials, _, netloc = parts.netloc.rpartition("@")
    username, _, password = credentials.partition(":")
    hosts = _database_hosts(unquote(netloc), 5432) if netloc else (("localhost", 5432),)
    is_tls = False
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name == "sslmode" and value in (
            "disable",
            "allow",
            "prefer",
            "require",
            "verify-ca",
            "verify-full",
        ):
            is_tls = value in ("require", "verify-ca", "verify-full")
        elif name == "ssl" and value in ("true", "false", "1", "0"):
            is_tls = value in ("true", "1")
        elif name == "target_session_attrs" and value in ("any", "read-write", "primary"):
            pass  # nodes write, and take nothing but a primary
        elif name == "target_session_attrs":
            raise refuse("holds a target_session_attrs that is of no use; expected read-write: nodes write")
        else:
            raise refuse(
                "holds a parameter or value that is not known (sslmode, ssl and target_session_attrs are); use"
                " dataSource for the rest"
            )
    return DatabaseSection(
        username=unquote(username or "mstr_collab"),
        password=SecretStr(unquote(password)) if password else None,
        hosts=hosts,
        database=unquote(parts.path.removeprefix("/")) or "mstr_collab",
        is_tls=is_tls,
    )


_REDIS_SCHEMES = ("redis", "rediss", "valkey", "valkeys")


def parse_redis_url(url: str) -> RedisSection:
    """What a `redisServerUrl` says; raises what `refuse` makes. `rediss` means TLS; `valkey` is `redis`.

    redis://[user:password@]host[:port][,host[:port]][/database]
    redis+sentinel://[user:password@]host[:port],host[:port]/master[/database]
        [?sentinelUsername=…&sentinelPassword=…]
    """
    example = "redis://host:6379"
    wrong = refuse(
        f"has a wrong host, port or path; expected {example}, rediss://user:password@host:6379/0 or"
        " redis+sentinel://host:26379,host2:26379/mymaster (in a password, write / ? # @ : %-encoded)"
    )
    parts = _split_url_of_hosts(
        url, _REDIS_SCHEMES + tuple(f"{scheme}+sentinel" for scheme in _REDIS_SCHEMES), example
    )
    base_scheme, _, sentinel = parts.scheme.partition("+")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if parts.fragment or not query.keys() <= (
        {"sentinelUsername", "sentinelPassword"} if sentinel else set()
    ):
        raise refuse(
            "must not hold # or ? (in a password, write them %-encoded); only Sentinels take"
            " ?sentinelUsername=…&sentinelPassword=…"
        )

    credentials, _, netloc = parts.netloc.rpartition("@")
    username, _, password = credentials.partition(":")
    hosts = _hosts(unquote(netloc), 26379 if sentinel else 6379)
    if hosts is None:
        raise wrong
    path = [unquote(step) for step in parts.path.strip("/").split("/") if step]
    master = path.pop(0) if sentinel and path else None
    if (sentinel and master is None) or len(path) > 1:
        raise wrong
    if path and re.fullmatch(r"\d{1,4}", path[0]) is None:
        raise wrong
    return RedisSection(
        hosts=hosts,
        username=unquote(username) or None,
        password=SecretStr(unquote(password)) if password else None,
        database=int(path[0]) if path else 0,
        is_tls=base_scheme in ("rediss", "valkeys"),
        sentinel_master=master,
        sentinel_username=query.get("sentinelUsername"),
        sentinel_password=SecretStr(query["sentinelPassword"]) if "sentinelPassword" in query else None,
    )


NOT_ADVERTISED = "none"
_ADVERTISED = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)?(?::(\d{1,5}))?")


def parse_advertise(value: str) -> tuple[str | None, int]:
    """The host, if one is named, and the port, 0 for any, of `advertise`. Raises what `refuse` makes."""
    matched = _ADVERTISED.fullmatch(value)
    port = int((matched and matched[2]) or 0)
    if matched is None or not value or port > 65535 or (matched[2] is not None and not port):
        raise refuse(
            "expected an address like 10.0.0.5, 10.0.0.5:3001, [fd00::5]:3001 or :3001, or none, to hand nothing over"
        )
    return (matched[1].strip("[]") if matched[1] else None), port


def _advertise(value: str) -> str:
    if value != NOT_ADVERTISED:
        parse_advertise(value)
    return value


def _check_status_token(value: SecretStr) -> SecretStr:
    if re.fullmatch(r"[!-~]{16,1024}", value.get_secret_value()) is None:
        raise refuse(
            "expected 16 to 1024 visible ASCII characters, so that it can be sent and not be guessed"
        )
    return value


def _check_secret(value: SecretStr) -> SecretStr:
    if re.fullmatch(r"[!-~]{32,1024}", value.get_secret_value()) is None:
        raise refuse("expected 32 to 1024 visible ASCII characters, made by chance: openssl rand -base64 33")
    return value


def _check_dburl(value: SecretStr) -> SecretStr:
    parse_dburl(value.get_secret_value())
    return value


def _check_redis_url(value: SecretStr) -> SecretStr:
    parse_redis_url(value.get_secret_value())
    return value


Circles = Annotated[tuple[str, ...], Field(strict=False), AfterValidator(_circles)]
ProjectId = Annotated[str, AfterValidator(_project_id)]
Name = Annotated[str, Field(min_length=1)]
DatabaseHost = Annotated[str, Field(min_length=1), AfterValidator(_database_host)]
PortNumber = Annotated[int, Field(ge=1, le=65535)]
ConfigPath = Annotated[Path, BeforeValidator(_path)]
WebUrl = Annotated[str, AfterValidator(_web_url)]
PageUrl = Annotated[str, AfterValidator(_page_url)]
Origin = Annotated[str, AfterValidator(_origin)]
UserId = Annotated[str, AfterValidator(_user_id)]
DatabaseUrl = Annotated[SecretStr, AfterValidator(_check_dburl)]
RedisUrl = Annotated[SecretStr, AfterValidator(_check_redis_url)]
Secret = Annotated[SecretStr, AfterValidator(_check_secret)]
StatusToken = Annotated[SecretStr, AfterValidator(_check_status_token)]
Advertise = Annotated[str, AfterValidator(_advertise)]
Proxy = Annotated[str, AfterValidator(_proxy)]
