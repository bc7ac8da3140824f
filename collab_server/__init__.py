"""An open collaboration server for dashboards: comments, discussions, mentions and presence, live."""

__version__ = "0.2.0"
