"""Lets one process at a time do what must not be done twice at once; one that stands still loses its turn."""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection, text

from mes.db import query

# who does not renew in time has died, or stands still; others wait so long before they take over
TTL = timedelta(seconds=5)


@dataclass(frozen=True)
class Lease:
    """A turn: `token` grows with each new holder, so that a write of an earlier one can be told."""

    name: str
    holder: str
    token: int


def take(conn: Connection, name: str, holder: str, ttl: timedelta = TTL) -> Lease | None:
    """Take the lease, or renew it; None while another holds it.

    The database's clock decides, since those of several machines differ. A lease that ends later than any could is one
    from before that clock was set back: it counts as ended.
    """
    row = conn.execute(
        text("""
            insert into ops.leases as held (name, holder, token, until)
            values (:name, :holder, 1, clock_timestamp() + cast(:ttl as interval))
            on conflict (name) do update set
                holder = excluded.holder,
                token = held.token + case when held.holder = excluded.holder then 0 else 1 end,
                until = excluded.until
            where held.holder = excluded.holder or held.until < clock_timestamp()
                or held.until > clock_timestamp() + cast(:ttl as interval)
            returning token
        """),
        {"name": name, "holder": holder, "ttl": ttl},
    ).one_or_none()
    return Lease(name, holder, row.token) if row is not None else None


def holds(conn: Connection, lease: Lease) -> bool:
    """Whether nobody took it over, and nobody can until the transaction ends."""
    return query.flag(
        conn,
        "select exists (select from ops.leases where name = :name and token = :token for share)",
        name=lease.name,
        token=lease.token,
    )


def give_back(conn: Connection, lease: Lease) -> None:
    """End it at once, so that the next need not wait."""
    conn.execute(
        text("update ops.leases set until = '-infinity' where name = :name and token = :token"),
        {"name": lease.name, "token": lease.token},
    )
