"""Connections that the database has closed meanwhile, as at its restart, cost no caller his answer."""

import httpx
from sqlalchemy import text

from tests.api_server import Api, new_key, new_order


def test_no_call_gets_a_connection_that_the_server_has_closed(shop: httpx.Client, api: Api) -> None:
    with api.engine.begin() as conn:
        closed = conn.execute(
            text("""
                select count(pg_terminate_backend(pid)) from pg_stat_activity
                where application_name = 'mes-api' and datname = current_database()
            """)
        ).scalar_one()
    assert closed > 1
    for number in range(closed + 1):
        answer = shop.post("/v1/orders", json=new_order(f"B-{number}"), headers=new_key())
        assert answer.status_code == 201, answer.text
