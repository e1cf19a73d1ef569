"""One client serves event loops one after another and at once, threads, and both sides of a fork."""

from __future__ import annotations

import asyncio
import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import redis as redis_py

from headrace import AsyncClient, Event
from headrace.formats.keys import Keys
from tests.support.processes import Processes
from tests.support.waiting import wait_until


def clients_of(redis: redis_py.Redis, name: str) -> int:
    """How many connections of this name the server has."""
    rows: Any = redis.client_list()
    return sum(row["name"] == name for row in rows)


async def finish_tasks() -> None:
    """Wait for the other tasks of the event loop."""
    await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})


def test_one_event_loop_after_another_may_use_a_client(url: str, namespace: str, redis: redis_py.Redis) -> None:
    """As with asyncio.run for each request; the connections of a loop end with it."""
    client = AsyncClient(f"{url}?client_name=loops", namespace=namespace)
    for n in range(4):
        sent = asyncio.run(client.send_event(Event("a", n)))
        assert asyncio.run(client.get_event(sent.id)).payload == n
        wait_until(lambda: clients_of(redis, "loops") == 0)
    asyncio.run(client.close())


def test_an_event_loop_closed_early_leaves_no_connection(
    url: str, namespace: str, redis: redis_py.Redis, recwarn: Any
) -> None:
    """The next event loop that calls closes the old connections, and is not disturbed by them."""
    client = AsyncClient(f"{url}?client_name=loops", namespace=namespace)
    for n in range(3):
        loop = asyncio.new_event_loop()
        sent = loop.run_until_complete(client.send_event(Event("a", n)))
        assert loop.run_until_complete(client.get_event(sent.id)).payload == n
        loop.close()
        wait_until(lambda: clients_of(redis, "loops") == 1)
    asyncio.run(client.close())
    wait_until(lambda: clients_of(redis, "loops") == 0)
    gc.collect()
    recwarn.clear()  # Python's word on loops that were closed so


def test_loops_in_several_threads_use_a_client_at_once(url: str, namespace: str, redis: redis_py.Redis) -> None:
    """Each has connections of its own, and every answer is the sender's own."""
    shared = AsyncClient(f"{url}?client_name=loops", namespace=namespace)
    start = threading.Barrier(4)

    async def send_many(thread: int) -> list[str]:
        async def send(n: int) -> str:
            sent = await shared.send_event(Event("a", [thread, n]))
            assert (await shared.get_event(sent.id)).payload == [thread, n]
            return sent.id

        start.wait(10)
        return [sent for n in range(20) for sent in await asyncio.gather(send(2 * n), send(2 * n + 1))]

    with ThreadPoolExecutor(4) as pool:
        ids = [made for many in pool.map(lambda n: asyncio.run(send_many(n)), range(4)) for made in many]
    assert len(set(ids)) == 160
    assert redis.xlen(Keys(namespace).events) == 160
    wait_until(lambda: clients_of(redis, "loops") == 0)


def test_a_close_reaches_the_connections_of_other_loops(url: str, namespace: str, redis: redis_py.Redis) -> None:
    """Of a loop that runs in another thread, and of a stopped loop; a later call opens new connections."""
    client = AsyncClient(f"{url}?client_name=loops", namespace=namespace)
    loops = [asyncio.new_event_loop() for _ in range(2)]
    for loop in loops:
        loop.run_until_complete(client.send_event(Event("a")))
    thread = threading.Thread(target=loops[0].run_forever)
    thread.start()
    assert clients_of(redis, "loops") == 2
    asyncio.run(client.close())
    wait_until(lambda: clients_of(redis, "loops") == 1)
    loops[1].run_until_complete(finish_tasks())
    wait_until(lambda: clients_of(redis, "loops") == 0)
    asyncio.run_coroutine_threadsafe(client.send_event(Event("a")), loops[0]).result(10)
    loops[0].call_soon_threadsafe(loops[0].stop)
    thread.join(10)
    for loop in loops:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
    wait_until(lambda: clients_of(redis, "loops") == 0)


def test_a_wait_works_in_each_loop(url: str, namespace: str) -> None:
    """It listens over a connection of its own loop."""
    client = AsyncClient(url, namespace=namespace)
    for n in range(2):
        event_id = asyncio.run(client.send_event(Event("a", id=f"e{n}"), deliver_after=60)).id

        async def wait_and_cancel(event_id: str = event_id) -> str:
            waiting = asyncio.ensure_future(client.wait_for_event(event_id, 20))
            await asyncio.sleep(0)
            await client.cancel_event(event_id)
            return (await waiting).status

        assert asyncio.run(wait_and_cancel()) == "canceled"


FORK = """
import asyncio, os, sys
from headrace import AsyncClient, Event

client = AsyncClient()

async def send(side):
    for n in range(50):
        sent = await client.send_event(Event("a", [side, n]))
        assert (await client.get_event(sent.id)).payload == [side, n]

loop = asyncio.new_event_loop()
loop.run_until_complete(send("before"))
children = []
for n in range(3):
    child = os.fork()
    if child == 0:
        asyncio.run(send(f"child {n}"))
        asyncio.run(send(f"child {n} again"))
        os._exit(0)
    children.append(child)
    loop.run_until_complete(send("parent"))
for child in children:
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
loop.run_until_complete(send("after"))
loop.run_until_complete(client.close())
loop.close()
"""


def test_both_sides_of_a_fork_send_from_their_loops(
    processes: Processes, redis: redis_py.Redis, namespace: str
) -> None:
    """A child has connections of its own, and leaves those of its parent as they are."""
    process = processes.python("-W", "error", "-c", FORK)
    assert process.wait() == 0, process.output
    assert redis.xlen(Keys(namespace).events) == 50 * (1 + 3 + 6 + 1)


LOCKED = """
import os, threading
from headrace import Client, Event

client = Client()
client.send_event(Event("before"))
pool = client._transport.pool
held, done = threading.Event(), threading.Event()

def hold():
    with pool._lock, pool._fork_lock:
        held.set()
        done.wait()

threading.Thread(target=hold, daemon=True).start()
held.wait()
child = os.fork()
if child == 0:
    client.send_event(Event("child"))
    client.close()
    os._exit(0)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 0
done.set()
client.send_event(Event("after"))
client.close()
"""


def test_a_fork_sends_while_a_thread_of_its_parent_holds_locks(
    processes: Processes, redis: redis_py.Redis, namespace: str
) -> None:
    """In the child no thread ever releases such a lock."""
    process = processes.python("-W", "error", "-c", LOCKED)
    assert process.wait() == 0, process.output
    assert redis.xlen(Keys(namespace).events) == 3
