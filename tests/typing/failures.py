"""What a caller learns of each error: its facts are attributes, and its base classes catch it."""

from typing import Any, assert_type

from headrace import (
    AuthenticationFailed,
    CallBroken,
    CallError,
    Client,
    ConfigurationError,
    DamagedRecord,
    DeadLetterNotFound,
    EventConflict,
    EventNotFound,
    EventTooLarge,
    HeadraceError,
    InvalidArgument,
    InvalidEvent,
    NotFound,
    PayloadError,
    PermissionMissing,
    QueueNotFound,
    RunNotFound,
    RunNotRetryable,
    SealedEvent,
    ServerError,
    ServerFull,
    ServerNotReady,
    ServerUnreachable,
    StreamExhausted,
    UndecodableEvent,
    UnsupportedServer,
    WaitTimeout,
)
from headrace_worker import Abort, App, DefinitionError, FilterError, JobError, LifespanFailed, RetryAfter, StartRefused
from headrace_worker.testing import EmbeddedServerFailed, NotSettled, RunFailed
from tests.typing.events import NewUser


def of_a_send(client: Client) -> None:
    try:
        client.send_event(NewUser("u_1"))
    except EventTooLarge as error:
        assert_type(error.size, int)
        assert_type(error.limit, int)
    except InvalidEvent as error:
        assert_type(error.field, str)
        assert_type(error.reason, str)
        assert_type(error.index, int | None)
    except EventConflict as error:
        assert_type(error.event_id, str)
        assert_type(error.status, str)
    except ServerFull as error:
        assert_type(error.may_be_done, bool)
        assert_type([sent.id for sent in error.sent], list[Any])


def of_a_read(client: Client) -> None:
    try:
        client.wait_for_event("e_1", 3).payload_as(NewUser)
    except WaitTimeout as error:
        assert_type(error.timeout_s, float)
    except EventNotFound as error:
        assert_type(error.missing_id, str)
    except DamagedRecord as error:
        assert_type(error.key, str)
    except (PayloadError, SealedEvent) as error:
        assert_type(str(error), str)
    try:
        client.retry_run("e_1:shop/welcome")
    except RunNotRetryable as error:
        assert_type(error.status, str)
    except ServerNotReady as error:
        assert_type(error.code, str)
    try:
        client.pause_queue("shop/default", reason="the bank is down")
    except QueueNotFound as error:
        assert_type(error.queues, list[str])


def of_a_definition() -> None:
    try:
        App("shop").job(id="welcome")
    except JobError as error:
        assert_type(error.reason, str)
    except FilterError as error:
        assert_type(error.path, str)
    except LifespanFailed as error:
        assert_type(error.app, str)
    except RunFailed as error:
        assert_type(error.run.status == "failed", bool)


def of_a_run(reason: str) -> None:
    raise RetryAfter(1.5, reason) from Abort(reason)


def by_their_bases() -> None:
    caught: list[type[HeadraceError]] = [StartRefused, LifespanFailed, NotSettled, EmbeddedServerFailed, CallBroken]
    missing: list[type[NotFound]] = [EventNotFound, RunNotFound, DeadLetterNotFound]
    arguments: list[type[InvalidArgument]] = [InvalidEvent, EventTooLarge]
    values: list[type[ValueError]] = [ConfigurationError, DefinitionError, UndecodableEvent, PayloadError]
    calls: list[type[CallError]] = [ServerError, CallBroken]
    servers: list[type[ServerError]] = [
        AuthenticationFailed,
        PermissionMissing,
        ServerFull,
        ServerNotReady,
        ServerUnreachable,
        StreamExhausted,
        UnsupportedServer,
    ]
    print(caught, missing, arguments, values, calls, servers)


def mistakes() -> None:
    RetryAfter("5 s")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    RetryAfter()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Abort(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
