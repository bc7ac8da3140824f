"""The client of collab-server for Python: it follows topics, writes, goes offline, and loses nothing.

async with Client("https://reports.example.com", auth=library(url, "bot", password)) as client:
    async for event in client.follow(topic, after=seq):
        ...
"""

from collab_client.client import Client
from collab_client.connection import Auth, Credentials
from collab_client.fold import Shown, fold
from collab_client.following import Following, Gap
from collab_client.inbox import Inbox, InboxState
from collab_client.keeping import Entry
from collab_client.library import library
from collab_client.mentions import mention
from collab_client.outbox import Outbox
from collab_client.refused import Code, Refused
from collab_client.sync import SyncClient
from collab_client.topic import Thread, Topic, TopicState

__all__ = [
    "Auth",
    "Client",
    "Code",
    "Credentials",
    "Entry",
    "Following",
    "Gap",
    "Inbox",
    "InboxState",
    "Outbox",
    "Refused",
    "Shown",
    "SyncClient",
    "Thread",
    "Topic",
    "TopicState",
    "fold",
    "library",
    "mention",
]
