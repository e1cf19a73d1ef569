"""Headrace's client: sends events to jobs over Redis or Valkey, and asks what became of them."""

from headrace.async_client import AsyncClient
from headrace.calls import Retention
from headrace.client import Client
from headrace.errors import (
    ConfigurationError,
    ConnectionFailed,
    DeadEntryNotFound,
    EventConflict,
    EventNotFound,
    EventTooLarge,
    HeadraceError,
    InvalidArgument,
    InvalidEvent,
    NotFound,
    OutOfMemory,
    PermissionMissing,
    RunNotFound,
    RunNotRetryable,
    SealedEvent,
    ServerError,
    ServerNotReady,
    UndecodableEvent,
    UnsupportedServer,
    WaitTimeout,
)
from headrace.event import DeadEntry, DeadPage, Event, EventRecord, RunError, RunPage, RunRecord, SentEvent
from headrace.seal import PayloadCodec, Sealed

__all__ = [
    "AsyncClient",
    "Client",
    "ConfigurationError",
    "ConnectionFailed",
    "DeadEntry",
    "DeadEntryNotFound",
    "DeadPage",
    "Event",
    "EventConflict",
    "EventNotFound",
    "EventRecord",
    "EventTooLarge",
    "HeadraceError",
    "InvalidArgument",
    "InvalidEvent",
    "NotFound",
    "OutOfMemory",
    "PayloadCodec",
    "PermissionMissing",
    "Retention",
    "RunError",
    "RunNotFound",
    "RunNotRetryable",
    "RunPage",
    "RunRecord",
    "Sealed",
    "SealedEvent",
    "SentEvent",
    "ServerError",
    "ServerNotReady",
    "UndecodableEvent",
    "UnsupportedServer",
    "WaitTimeout",
]

__version__ = "0.1.0"
