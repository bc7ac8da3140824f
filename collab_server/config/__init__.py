"""`config.json` and the `COLLAB_*` environment → one frozen, typed `Config`.

What it promises:

- `load_config` finds *all* problems, by the name of the property, before it gives up (`ConfigError`), also those
  inside certificates. A name that is not known is only a warning: files of the original may carry names that its
  help does not list.
- Field names are exactly the names of the file. Relative paths are taken from the file's directory.
- No message and no `repr` holds a secret: not a password, a passphrase, nor a URL that may contain one.
- What can be said in several ways in the file is said in one way here: `Config.database`, `.redis`,
  `.server_tls`, `.notification_base_url` and `.allowed_origins` are what the rest of the program reads.

Read downwards: `loading` (file, environment, all problems at once), `files` (JSON that people write), `rules` (between
properties), `model` (the properties), `limits`, `values` (kinds of values, and sections), `problems`. Nothing runs
concurrently. Files are read by `load_config` and by the first use of a section with a secret, never at import.
"""

from collab_server.config.files import read_object
from collab_server.config.limits import Limits
from collab_server.config.loading import LoadedConfig, load_config, problems_of
from collab_server.config.model import Config, DataSource
from collab_server.config.problems import ConfigError, Problem
from collab_server.config.values import DatabaseSection, RedisSection, ServerTlsSection

__all__ = [
    "Config",
    "ConfigError",
    "DataSource",
    "DatabaseSection",
    "Limits",
    "LoadedConfig",
    "Problem",
    "RedisSection",
    "ServerTlsSection",
    "load_config",
    "problems_of",
    "read_object",
]
