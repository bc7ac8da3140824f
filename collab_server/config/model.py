"""The properties of `config.json`: names, types, defaults, ranges, the words of `docs/configuration.md`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, ConfigDict, Field, SecretStr

from collab_server.config.encryption import EncryptionError, decrypt, is_encrypted
from collab_server.config.limits import Limits, Section
from collab_server.config.problems import ConfigError, Problem
from collab_server.config.values import (
    NOT_ADVERTISED,
    Advertise,
    Circles,
    ConfigPath,
    DatabaseHost,
    DatabaseSection,
    DatabaseUrl,
    HandoverSection,
    Name,
    Origin,
    PageUrl,
    PortNumber,
    ProjectId,
    Proxy,
    RedisSection,
    RedisUrl,
    Secret,
    ServerTlsSection,
    StatusToken,
    UserId,
    WebUrl,
    database_hosts,
    is_this_machine,
    origin_of,
    parse_advertise,
    parse_dburl,
    parse_redis_url,
)
from collab_server.domain.commenting import CommentingRules, parse_circles
from collab_server.domain.ids import ReadId
from collab_server.errors import Invalid

DEFAULT_PORT = 3000


def _array(default: tuple[Any, ...] | None, description: str) -> Any:
    # Strict mode wants a tuple where JSON can only give a list.
    return Field(default=default, strict=False, description=description)


class DataSource(Section):
    """The Postgres database, as the file has it. The program reads `Config.database` instead."""

    username: Name = Field(default="mstr_collab", description="The Postgres user.")
    password: SecretStr | None = Field(
        default=None,
        description="Its password: plain text, or with `encryptionKeyFile` an `ENC(…)` value made by"
        " `collab-server encrypt-password`. A password that the original server encrypted must be encrypted"
        " again: the cipher is another one.",
    )
    host: DatabaseHost = Field(
        default="localhost",
        description="The host that Postgres runs on; or several, `db1.example.com,db2.example.com:5433`, of which nodes"
        " take the one that is the primary.",
    )
    port: PortNumber = Field(default=5432, description="The port that Postgres listens on.")
    database: Name = Field(
        default="mstr_collab",
        description="The database. Our tables live in its schema `collab`, so the original may use it too.",
    )
    encryptionKeyFile: ConfigPath | None = Field(
        default=None,
        description="The file with the key that decrypts `password` (and `passphrase`); mode 0600.",
    )
    sslRootCertFile: ConfigPath | None = Field(
        default=None,
        description="The CA (PEM) that signs the Postgres server's certificate. Any of the three ssl keys"
        " turns SSL on; certificate and host name are then always verified (`verify-full`), without this key"
        " against the machine's own CAs.",
    )
    sslRootCertificate: ConfigPath | None = Field(
        default=None, description="Older name of `sslRootCertFile`."
    )
    sslClientCertFile: ConfigPath | None = Field(
        default=None,
        description="The certificate (PEM) this server shows to Postgres; with `sslClientKeyFile`.",
    )
    sslClientKeyFile: ConfigPath | None = Field(
        default=None, description="The key (PEM) of `sslClientCertFile`."
    )
    poolSize: int = Field(
        default=10,
        ge=1,
        le=1000,
        description="Connections to Postgres for commands, per node, at most; its workers share them, each has one.",
    )
    readPoolSize: int = Field(
        default=5,
        ge=1,
        le=1000,
        description="Further connections for reading, so that reads never wait for writes.",
    )


class Authorization(Section):
    """Who signs people in, and says who may what. Whatever else stands here is for a kind that a package brings."""

    model_config = ConfigDict(extra="allow")

    kind: Name = Field(
        default="library",
        description="`library`: the one at `authorizationServerUrl`. Or a kind that another package brings"
        " ([extending.md](extending.md)); what else stands here is for that package, and is not checked.",
    )

    @property
    def options(self) -> Mapping[str, Any]:
        """What else the section holds, as JSON has it."""
        return dict(self.model_extra or {})


class ChannelChoice(Section):
    """One channel. Whatever else stands here is for a kind that a package brings."""

    model_config = ConfigDict(extra="allow")

    kind: Name

    @property
    def options(self) -> Mapping[str, Any]:
        """What else the section holds, as JSON has it."""
        return dict(self.model_extra or {})


class Commenting(Section):
    """Who may comment on content, of those who may open it."""

    who: Circles = Field(
        default=("everyone",),
        strict=False,
        description="Whoever is in one of these: `everyone` (who may open the object), `group:ID` (a group of Library,"
        " with the groups in it), `privilege:ID` (who holds that privilege of Library in the object's project, or in"
        " all), `nobody`. The others may look. Private discussions are their members' own.",
    )
    projects: dict[ProjectId, Circles] = Field(
        default={},
        description="The same for single projects, by their ids, instead of `who`: an object whose values are such"
        " arrays.",
    )

    def rules(self, read_id: ReadId) -> CommentingRules:
        """Who may comment where; `read_id` is the authority's. Raises `ConfigError` for ids that it does not read."""
        try:
            projects = {
                read_id(project, "project"): parse_circles(words, read_id)
                for project, words in self.projects.items()
            }
            return CommentingRules(parse_circles(self.who, read_id), projects)
        except Invalid as error:
            raise ConfigError([Problem("commenting", error.message)]) from None


class BusChoice(Section):
    """The bus, as the file chooses it. The program reads `Config.bus_kind` instead."""

    kind: Name | None = Field(
        default=None,
        description="Which one: `redis`, or that of a package which is installed beside the server"
        " ([extending.md](extending.md)); `alone` is what a single node has. Default: `redis`.",
    )
    url: SecretStr | None = Field(
        default=None, description="What a bus of another package has to know; it says what it expects."
    )


class Properties(Section):
    """The whole configuration, as the file has it."""

    port: Annotated[int, AfterValidator(lambda port: port or DEFAULT_PORT)] = Field(
        default=DEFAULT_PORT, ge=0, le=65535, description="The port to listen on; `0` means 3000."
    )
    dataSource: DataSource = Field(default=DataSource(), description="The Postgres database.")
    dburl: DatabaseUrl | None = Field(
        default=None,
        description="Legacy: the database as `postgres://user:password@host:port/database`, optionally with"
        " `?sslmode=` (`require` verifies fully); used where `dataSource` is absent.",
    )
    authorizationServerUrl: WebUrl | None = Field(
        default=None,
        description="The REST base of Library, which says who is who; ends in `/api`. Without it nobody can"
        " sign in.",
    )
    authorization: Authorization = Field(
        default=Authorization(), description="Who signs people in, and says who may what."
    )
    commenting: Commenting = Field(
        default=Commenting(), description="Who may comment on content, of those who may open it."
    )
    notificationBaseUrl: PageUrl | None = Field(
        default=None,
        description="The address that users open in their browsers: its pages may connect. Also the base of the links"
        " in e-mails. Default: `authorizationServerUrl` without `/api`.",
    )
    channels: tuple[ChannelChoice, ...] = _array(
        (ChannelChoice(kind="inbox"),),
        "How people are told what concerns them: `inbox`, which clients read and which has to be there; and kinds that"
        " other packages bring ([extending.md](extending.md)), each with what it needs beside `kind`.",
    )
    enableTls: bool = Field(
        default=False,
        description="Whether to serve HTTPS. Needs `keystoreFile` and `passphrase`, or `privateKeyFile` and"
        " `publicCertFile`; the keystore pair wins.",
    )
    privateKeyFile: ConfigPath | None = Field(default=None, description="The server's private key, PEM.")
    publicCertFile: ConfigPath | None = Field(
        default=None, description="The server's certificate, PEM, followed by the intermediate ones."
    )
    keystoreFile: ConfigPath | None = Field(
        default=None, description="The server's key and certificates as PKCS12 (`.p12`, `.pfx`)."
    )
    passphrase: SecretStr | None = Field(
        default=None,
        description="The passphrase of `keystoreFile`: plain text, or with `dataSource.encryptionKeyFile` an"
        " `ENC(…)` value.",
    )
    trustedCerts: tuple[ConfigPath, ...] = _array(
        (),
        "Root CAs, one PEM file each, that are trusted beside the machine's own when calling Library,"
        " and Redis by `rediss://`.",
    )
    cpus: int = Field(
        default=1,
        ge=1,
        le=128,
        description="Processes of one node, its workers, unless `scaling` is `none`: on one port, and one node to"
        " everybody outside ([workers.md](operations/workers.md)).",
    )
    scaling: Literal["none", "vertical", "horizontal"] = Field(
        default_factory=lambda data: "vertical" if data["cpus"] > 1 else "none",
        description="`none`: one process. `vertical`: `cpus` processes on one machine, without Redis."
        " `horizontal`: several nodes, with `redisServerUrl`, each of `cpus` processes. Default: `vertical` if"
        " `cpus` > 1, else `none`.",
    )
    redisServerUrl: RedisUrl | None = Field(
        default=None,
        description="Redis or Valkey between the nodes, when `horizontal`: `redis://host:6379` (of a Redis Cluster"
        " several nodes, with commas between),"
        " `rediss://user:password@host:6379/0` (TLS), or Sentinels:"
        " `redis+sentinel://user:password@host:26379,host2:26379/mymaster/0` (user and password are"
        " those of Redis; where Sentinels want some too, `?sentinelUsername=…&sentinelPassword=…`).",
    )
    redisClientCertFile: ConfigPath | None = Field(
        default=None,
        description="The certificate (PEM) that nodes show to Redis, and its Sentinels, by `rediss://`, where these ask"
        " for one (`tls-auth-clients yes`, as Redis comes); with `redisClientKeyFile`.",
    )
    redisClientKeyFile: ConfigPath | None = Field(
        default=None, description="The key (PEM) of `redisClientCertFile`."
    )
    bus: BusChoice = Field(
        default=BusChoice(), description="How the nodes reach each other, when `horizontal`."
    )
    advertise: Advertise | None = Field(
        default=None,
        description="Where the other nodes reach this one, when `horizontal`, to hand over what they get of its"
        " sessions: `10.0.0.5`, `10.0.0.5:3001`, or `:3001` for a fixed port alone; `none` to hand nothing over. It is"
        " a listener of its own, for nodes and nobody else. Default: the address by which this machine reaches Redis,"
        " at any free port"
        " ([load-balancers.md](operations/load-balancers.md#without-stickiness)).",
    )
    logging: bool = Field(
        default=False, description="true = detailed (debug) log. Never puts tokens or users' texts into it."
    )
    logFile: ConfigPath | None = Field(
        default=None,
        description="Log to this file instead of standard error; a new one begins at 20 MB, five old ones are"
        " kept.",
    )
    logFormat: Literal["text", "json"] = Field(
        default="text", description="`text` for people, `json` for machines: one object per line."
    )
    allowedOrigins: tuple[Origin, ...] | None = _array(
        None,
        "Origins of pages whose browsers may connect, besides the node's own and that of `notificationBaseUrl`: like"
        " `https://dashboards.example.com`; `https://*.example.com` for all subdomains; `http://localhost:*` for all"
        " ports of `localhost`, `127.0.0.1` and `[::1]`; `capacitor://localhost` and the like for applications; `null`"
        " for pages without an origin; `*` for all. Default: with Library as the authority, the origin of"
        " `authorizationServerUrl`, and where that is this machine, Library's port at whatever host name the node is"
        " asked by; with another, none.",
    )
    administrators: tuple[UserId, ...] = _array(
        (), "The ids of the users who may administer, as Library, or whoever says who is who, has them."
    )
    secret: Secret | None = Field(
        default=None,
        description="Goes into all keys, beside the one in the database, so that nobody who reads the database, or a"
        " dump of it, can make tokens: 32 to 1024 visible ASCII characters, the same on all nodes, or with"
        " `dataSource.encryptionKeyFile` an `ENC(…)` value. It is used from when all nodes have it.",
    )
    sessionHours: float = Field(
        default=12.0,
        gt=0,
        le=720,
        description="How many hours a sign-in lasts at most, however much it is used; then everybody shows a fresh"
        " token of Library. It ends before that with its Library session.",
    )
    rightsSeconds: int = Field(
        default=60,
        ge=30,
        le=600,
        description="For how many seconds Library's word counts: so long, at most, a right that was taken away there,"
        " or a session that ended, is still of use here. Each person with a dashboard open costs Library some"
        " 90 / `rightsSeconds` calls a minute ([operations.md](operations.md#what-library-is-asked)).",
    )
    statusToken: StatusToken | None = Field(
        default=None,
        description="Whoever shows it as `Authorization: Bearer …` gets `/status?verbose=1`, as administrators do:"
        " 16 to 1024 visible ASCII characters, or with `dataSource.encryptionKeyFile` an `ENC(…)` value. Without it"
        " only administrators do.",
    )
    trustedProxies: tuple[Proxy, ...] = _array(
        ("127.0.0.1", "::1"),
        "Addresses or networks of the load balancers whose `X-Forwarded-*` headers are believed; `*`"
        " believes anybody.",
    )
    demoPage: bool = Field(
        default=False,
        description="Whether the node serves the page to try the server with at `/`. For trying: it signs people in at"
        " Library with a password.",
    )
    docsPage: bool = Field(
        default=True,
        description="Whether the node serves the page `/docs`, which shows the REST calls; what it shows,"
        " `/openapi.json`, is there anyway, for clients.",
    )
    limits: Limits = Field(default=Limits(), description="What one client, user or text may take.")


class Config(Properties):
    """The whole configuration, as the program reads it: what can be said in several ways is said in one here.

    Only the node and the command line hold it; each part gets its own section.
    """

    @property
    def is_port_given(self) -> bool:
        """Whether file or environment set `port`; only then it outranks uvicorn's own default."""
        return "port" in self.model_fields_set

    @property
    def notification_base_url(self) -> str | None:
        """The base of links, without a trailing slash; None where Library is not configured."""
        if self.notificationBaseUrl is not None:
            return self.notificationBaseUrl
        return self.authorizationServerUrl and self.authorizationServerUrl.removesuffix("/api")

    @property
    def allowed_origins(self) -> frozenset[str]:
        """Origins that may connect beside the request's own, as `domain.origins` compares them; may hold `*`."""
        urls = [self.notificationBaseUrl]
        if self.allowedOrigins is None:
            urls.append(self._library_url)
        named = {origin for url in urls if url is not None and (origin := origin_of(url)) is not None}
        return frozenset(named.union(self.allowedOrigins or ()))

    @property
    def library_beside(self) -> str | None:
        """The origin of a Library on this machine: browsers reach it by the node's own host name. None where Library
        is elsewhere or not the authority, or where `allowedOrigins` says who may connect."""
        url = self._library_url
        if url is None or self.allowedOrigins is not None or not is_this_machine(urlsplit(url).hostname):
            return None
        return origin_of(url)

    @property
    def _library_url(self) -> str | None:
        """Where Library is, whose pages are the dashboards; what another authority has there serves no such pages."""
        return self.authorizationServerUrl if self.authorization.kind == "library" else None

    @property
    def may_call_by_tls(self) -> bool:
        """False where nobody is called but a Library that speaks no TLS: unless it leads elsewhere, no root certificate
        is of use."""
        url = self._library_url
        is_told_elsewhere = any(channel.kind != "inbox" for channel in self.channels)
        return url is None or not url.startswith("http:") or is_told_elsewhere or bool(self.trustedCerts)

    @cached_property
    def database(self) -> DatabaseSection:
        """The one description of the database, whether `dataSource` or `dburl` was used; password in clear.

        Raises `ConfigError` when the password cannot be decrypted (`load_config` has tried it before).
        """
        source = self.dataSource
        if self.dburl is not None and not self.has_data_source:
            database = parse_dburl(self.dburl.get_secret_value())
            return replace(database, pool_size=source.poolSize, read_pool_size=source.readPoolSize)
        root_cert_file = source.sslRootCertFile or source.sslRootCertificate
        return DatabaseSection(
            username=source.username,
            password=self._in_clear("dataSource.password", source.password),
            hosts=database_hosts(source.host, source.port),
            database=source.database,
            is_tls=any((root_cert_file, source.sslClientCertFile, source.sslClientKeyFile)),
            root_cert_file=root_cert_file,
            client_cert_file=source.sslClientCertFile,
            client_key_file=source.sslClientKeyFile,
            pool_size=source.poolSize,
            read_pool_size=source.readPoolSize,
        )

    @property
    def workers(self) -> int:
        """How many processes the node is to have, if `serve` starts it."""
        return 1 if self.scaling == "none" else self.cpus

    @property
    def bus_kind(self) -> str:
        """Which bus the node has: `alone` unless `scaling` is `horizontal`."""
        return (self.bus.kind or "redis") if self.scaling == "horizontal" else "alone"

    @property
    def redis(self) -> RedisSection | None:
        """Where Redis is; None unless it is the bus, for nothing else needs it."""
        if self.bus_kind != "redis" or self.redisServerUrl is None:
            return None
        return replace(
            parse_redis_url(self.redisServerUrl.get_secret_value()),
            trusted_certs=self.trustedCerts,
            client_cert_file=self.redisClientCertFile,
            client_key_file=self.redisClientKeyFile,
        )

    @property
    def handover(self) -> HandoverSection | None:
        """Where the node listens for what others hand over; None where there is nobody, or nothing is to be."""
        if self.bus_kind == "alone" or self.advertise == NOT_ADVERTISED:
            return None
        host, port = (None, 0) if self.advertise is None else parse_advertise(self.advertise)
        towards = self.redis.hosts if self.redis is not None else ()
        return HandoverSection(host, port, towards) if host is not None or towards else None

    @cached_property
    def server_tls(self) -> ServerTlsSection | None:
        """The server's certificate, passphrase in clear; None without `enableTls`. Raises `ConfigError`."""
        if not self.enableTls:
            return None
        if self.keystoreFile is not None and self.passphrase is not None:
            passphrase = self._in_clear("passphrase", self.passphrase)
            return ServerTlsSection(keystore_file=self.keystoreFile, passphrase=passphrase)
        if self.publicCertFile is not None and self.privateKeyFile is not None:
            return ServerTlsSection(pem=(self.publicCertFile, self.privateKeyFile))
        raise ConfigError([Problem("enableTls", "is true, but neither pair of files is complete")])

    @cached_property
    def secret_in_clear(self) -> SecretStr | None:
        """`secret` in clear. Raises `ConfigError` when it cannot be decrypted (`load_config` has tried it)."""
        return self._in_clear("secret", self.secret)

    @cached_property
    def status_token(self) -> SecretStr | None:
        """`statusToken` in clear. Raises `ConfigError` when it cannot be decrypted (`load_config` has tried it)."""
        return self._in_clear("statusToken", self.statusToken)

    @property
    def has_data_source(self) -> bool:
        """Whether `dataSource` says where the database is; pool sizes and key file alone do not."""
        return bool(self.dataSource.model_fields_set - {"poolSize", "readPoolSize", "encryptionKeyFile"})

    def _in_clear(self, name: str, secret: SecretStr | None) -> SecretStr | None:
        key_file = self.dataSource.encryptionKeyFile
        if secret is None:
            return None
        if not is_encrypted(secret.get_secret_value()) and (
            key_file is None or name != "dataSource.password"
        ):
            return secret
        if key_file is None:
            message = "is an ENC(…) value, but dataSource.encryptionKeyFile does not say where its key is"
            raise ConfigError([Problem(name, message)])
        try:
            return SecretStr(decrypt(secret.get_secret_value(), key_file))
        except EncryptionError as error:
            raise ConfigError([Problem(name, f"cannot be decrypted: {error}")]) from None
