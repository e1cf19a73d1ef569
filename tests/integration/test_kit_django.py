"""Applications with Django test their jobs with the kit, under pytest-django."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

_SETTINGS = """
SECRET_KEY = "of a test"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
INSTALLED_APPS = ["orders"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
"""
_MODELS = """
from django.db import models

class Order(models.Model):
    state = models.TextField(default="new")
"""
_JOBS = """
from headrace import Client, Event
from headrace_worker import App, SyncJobIO, event_trigger
from orders.models import Order

app = App("orders")
client = Client()

def place():
    order = Order.objects.create()
    client.send_event(Event("order.placed", order.pk))
    return order

@app.job(id="confirm", trigger=event_trigger("order.placed"))
def confirm(payload: int, io: SyncJobIO):
    Order.objects.filter(pk=payload).update(state="confirmed")
    io.send_event("confirmed", Event("order.confirmed", payload))

@app.job(id="look", trigger=event_trigger("order.confirmed"))
async def look(payload: int):
    return (await Order.objects.aget(pk=payload)).state
"""
_TESTS = """
import pytest
from asgiref.sync import async_to_sync, sync_to_async
from orders import jobs
from orders.models import Order

@pytest.mark.django_db
def test_a_plain_job_is_in_the_transaction_of_the_test(call_job):
    order = Order.objects.create()
    assert call_job(jobs.app, "confirm", order.pk).sent["confirmed"] == order.pk
    order.refresh_from_db()
    assert order.state == "confirmed"

@pytest.mark.django_db
def test_an_async_job_is_too(acall_job):
    order = Order.objects.create()
    assert async_to_sync(acall_job)(jobs.app, "look", order.pk).output == "new"

@pytest.mark.django_db(transaction=True)
def test_whole(headrace_sync):
    jobs.place()
    assert headrace_sync.run(jobs.app)["look"].output == "confirmed"

@pytest.mark.django_db(transaction=True)
async def test_whole_with_await(headrace):
    await sync_to_async(jobs.place)()
    assert (await headrace.run(jobs.app))["look"].output == "confirmed"
"""


def test_jobs_of_django_are_tested_with_the_kit(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """One attempt sees the test's transaction; a worker needs what is committed."""
    for name in ("HEADRACE_URL", "HEADRACE_NAMESPACE", "HEADRACE_TEST_URL", "PYTEST_XDIST_WORKER"):
        monkeypatch.delenv(name, raising=False)
    package = pytester.mkpydir("orders")
    (package / "models.py").write_text(_MODELS)
    (package / "jobs.py").write_text(_JOBS)
    pytester.makepyfile(settings=_SETTINGS, test_orders=_TESTS)
    pytester.makeini(
        "[pytest]\nasyncio_mode = auto\nheadrace_env = true\nDJANGO_SETTINGS_MODULE = settings\npythonpath = ."
    )
    result = pytester.runpytest_subprocess("-p", "pytest_headrace", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=4)
