"""Too much is answered at once, and says when to come again; what is answered well is done."""

import threading
from pathlib import Path

import anyio
import pytest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ingest.api.overload import Crowd, RateLimits, TooManyRequests
from mes.callers import model
from tests import asynchronous
from tests.api_server import Api, new_key, new_order, on_database, problem, serving, settings_on, with_model


def test_a_key_may_send_so_many_a_second_and_some_at_once() -> None:
    """By hand: 10 a second, 20 saved up at most; after 0.35 s three and a half are there again."""
    limits = RateLimits(10)
    for _ in range(20):
        limits.take("a", now=100.0)
    with pytest.raises(TooManyRequests) as refused:
        limits.take("a", now=100.0)
    assert refused.value.retry_after_s == 1
    limits.take("b", now=100.0)
    for _ in range(3):
        limits.take("a", now=100.35)
    with pytest.raises(TooManyRequests):
        limits.take("a", now=100.35)
    for _ in range(20):
        limits.take("a", now=1000.0)
    with pytest.raises(TooManyRequests):
        limits.take("a", now=1000.0)


def test_over_its_rate_a_key_is_answered_429_and_others_are_served(database_url: str, tmp_path: Path) -> None:
    settings = settings_on(database_url, tmp_path, requests_per_s=2)
    with serving(settings) as url, on_database(database_url) as engine:
        api = Api(url, engine, settings, [])
        quick = api.client(api.key("quick", model.Scope.PARTNER))
        answers = [quick.get("/v1/orders") for _ in range(6)]
        assert [answer.status_code for answer in answers] == [200] * 4 + [429] * 2
        problem(answers[-1], 429, "too_many_requests")
        assert answers[-1].headers["retry-after"] == "1"
        assert api.client(api.key("other", model.Scope.PARTNER)).get("/v1/orders").status_code == 200
        for client in api.clients:
            client.close()


def test_orders_are_refused_while_the_workers_are_far_behind(database_url: str, tmp_path: Path) -> None:
    settings = settings_on(database_url, tmp_path, backlog_max_events=3)
    with serving(settings) as url, on_database(database_url) as engine:
        api = Api(url, engine, settings, [])
        shop = with_model(api.client(api.key("web shop", model.Scope.SHOP)))
        for number in range(5):
            assert shop.post("/v1/orders", json=new_order(f"B-{number}"), headers=new_key()).status_code == 201
        api.change("update ops.outbox set created_at = now() - interval '2 minutes'")
        end = threading.Event()
        for _ in range(30):
            answer = shop.post("/v1/orders", json=new_order("B-8"), headers=new_key())
            if answer.status_code == 503:
                break
            end.wait(0.1)
        problem(answer, 503, "overloaded")
        assert int(answer.headers["retry-after"]) >= 1
        assert shop.get("/v1/orders").status_code == 200
        api.change("update ops.outbox set position = outbox_id")
        for _ in range(30):
            if shop.post("/v1/orders", json=new_order("B-10"), headers=new_key()).status_code == 201:
                break
            end.wait(0.1)
        else:
            raise AssertionError("orders are still refused")
        for client in api.clients:
            client.close()


def test_a_crowd_is_sent_away_at_once_and_machines_are_answered() -> None:
    async def run() -> list[int]:
        waiting, answered = anyio.Event(), []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"] == "/v1/orders":
                await waiting.wait()
            await Response("done")(scope, receive, send)

        crowd = Crowd(app, most=2)

        async def ask(path: str) -> None:
            async def send(message: dict[str, object]) -> None:
                if message["type"] == "http.response.start":
                    answered.append(message["status"])

            await crowd({"type": "http", "path": path, "headers": []}, None, send)  # type: ignore[arg-type]

        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(ask, "/v1/orders")
            await anyio.sleep(0.05)
            await ask("/v1/orders")
            await ask("/healthz")
            waiting.set()
        await ask("/v1/orders")
        return answered  # type: ignore[return-value]

    assert asynchronous.run(run) == [503, 200, 200, 200, 200]
