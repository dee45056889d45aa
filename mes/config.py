"""Reads the configuration, once, typed, from `MES_*` variables; a wrong value stops the start by its name."""

from datetime import date
from functools import cache
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from mes.errors import MesError

ENV_PREFIX = "MES_"


class BadConfiguration(MesError):
    """A setting has a value that cannot be used."""

    code = "bad_configuration"


class Settings(BaseSettings):
    """All settings, each from the environment variable `MES_<NAME>`; every one has a default that works.

    Raises:
        BadConfiguration: from `load`, naming the variable at fault.
    """

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="ignore", frozen=True)

    home: Path = Field(
        default=Path(".mes"),
        description="Folder that holds all local state: the embedded database, models, raw feeds, logs.",
    )
    database_url: str | None = Field(
        default=None,
        description="Postgres 18 or later to use instead of the embedded one: `postgresql://user:password@host:port/name`.",
    )
    database_read_url: str | None = Field(
        default=None,
        description="Streaming replica of the database, for the console's reads; without one, and while it "
        "lags, they go to the database itself.",
    )
    read_lag_max_s: Annotated[float, Field(gt=0, le=300)] = Field(
        default=5.0,
        description="Lag of the replica from which on reads go to the database itself, seconds.",
    )
    dagster_database_url: str | None = Field(
        default=None,
        description="Database for Dagster's own storage; by default `<name>_dagster` beside the main one.",
    )
    objects_url: str | None = Field(
        default=None,
        description="Where models, pictures and raw feeds are kept: a folder or `s3://bucket/prefix`; by default "
        "`<home>/objects`.",
    )
    feeds_url: str | None = Field(
        default=None,
        description="Where the four feeds lie: a folder or an object-store URL; by default `<home>/shop/feeds`, "
        "which the generated shop fills.",
    )
    models_root: Path | None = Field(
        default=None,
        description="Folder below which the feeds' model paths lie; by default `<home>/shop/models`.",
    )
    feeds_since: date = Field(
        default=date(2010, 1, 1),
        description="First month that feeds are loaded from; rows before it are set aside. Its day must be the first.",
    )
    console_port: Annotated[int, Field(ge=1, le=65535)] = Field(default=8501, description="Port of the console.")
    dagster_port: Annotated[int, Field(ge=1, le=65535)] = Field(default=3000, description="Port of Dagster's UI.")
    api_port: Annotated[int, Field(ge=1, le=65535)] = Field(default=8000, description="Port of the sync API.")
    worker_port: Annotated[int, Field(ge=1, le=65535)] = Field(
        default=9100,
        description="Port of a worker's health and metrics; further workers on one machine take the next free ones.",
    )
    host: str = Field(default="127.0.0.1", description="Address that the web processes listen on.")
    certificates: str | None = Field(
        default=None,
        description="PEM files whose end API and workers tell in their metrics, separated by commas, such as that of "
        "the proxy before the API.",
    )
    prometheus_port: Annotated[int, Field(ge=1, le=65535)] = Field(
        default=9090, description="Port of Prometheus, with `mes up --observability`."
    )
    alertmanager_port: Annotated[int, Field(ge=1, le=65535)] = Field(
        default=9093, description="Port of Alertmanager, with `mes up --observability`."
    )
    otlp_endpoint: str | None = Field(
        default=None,
        description="Collector that logs and traces are sent to, by OTLP over HTTP: `http://collector:4318`; further "
        "settings are OpenTelemetry's own, such as `OTEL_EXPORTER_OTLP_HEADERS` and `OTEL_BSP_SCHEDULE_DELAY`.",
    )
    traces_per_s: Annotated[float, Field(ge=0, le=10_000)] = Field(
        default=1.0,
        description="New traces that a process sends each second, after a quiet time ten seconds' worth at once; what "
        "fails or is slow is sent beyond that.",
    )
    traces_slow_s: Annotated[float, Field(gt=0)] = Field(
        default=1.0, description="From how long on work is slow, so that its trace is sent in any case, seconds."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", description="Least level logged.")
    lease_minutes: Annotated[float, Field(gt=0, le=24 * 60)] = Field(
        default=30.0,
        description="Time in which an operator must begin the work that he claimed, minutes; then it returns.",
    )
    session_hours: Annotated[float, Field(gt=0, le=24 * 31)] = Field(
        default=12.0,
        description="How long a person stays signed in to the console at most, hours; two hours with no page open end "
        "it earlier.",
    )
    nats_url: str | None = Field(
        default=None,
        description="NATS with JetStream to use instead of the embedded one: `nats://user:password@host:port`, several "
        "servers of a cluster separated by commas.",
    )
    nats_port: Annotated[int, Field(ge=1, le=65535)] = Field(default=4222, description="Port of the embedded NATS.")
    bus_kept_days: Annotated[float, Field(gt=0, le=3650)] = Field(
        default=14.0, description="How long the bus keeps events for those who were away, days."
    )
    rabbitmq_url: str | None = Field(
        default=None,
        description="RabbitMQ that shop and CRM speak, beside NATS or in its place: `amqp://user:password@host:port/vhost`.",
    )
    rabbitmq_exchange: str = Field(
        default="mes.events",
        description="Topic exchange of RabbitMQ that our events go to, with their type as the key.",
    )
    rabbitmq_shop_queue: str = Field(
        default="shop.order.events", description="Queue of RabbitMQ for the shop's events."
    )
    rabbitmq_crm_queue: str = Field(default="crm.order.events", description="Queue of RabbitMQ for the CRM's events.")
    shop_statement_url: str | None = Field(
        default=None,
        description="What the shop says of its orders, to compare with: a folder or object-store URL of its exports, "
        "`https://:token@host/path` of an API, or `postgresql://...#table`.",
    )
    crm_statement_url: str | None = Field(
        default=None, description="The same of the CRM; without them, nothing is compared."
    )
    drift_settle_minutes: Annotated[float, Field(ge=0, le=24 * 60)] = Field(
        default=10.0,
        description="What changed so lately is not compared yet, since messages may be under way, minutes.",
    )
    drift_age_hours: Annotated[float, Field(gt=0, le=24 * 365)] = Field(
        default=4.0, description="How long a difference with shop or CRM may stay open before a check fails, hours."
    )
    requests_per_s: Annotated[float, Field(gt=0, le=100_000)] = Field(
        default=1000.0,
        description="Requests that a key may send to one process of the API, per second; twice as many at once.",
    )
    backlog_max_events: Annotated[int, Field(ge=1)] = Field(
        default=100_000,
        description="Events that may wait for the workers, the first of them for a minute, before new orders are "
        "refused for the time being.",
    )
    webhook_loopback: bool = Field(
        default=False,
        description="Whether webhooks may call this machine, by plain HTTP too; for trying things out only.",
    )
    refresh_interval_s: Annotated[float, Field(gt=0, le=60)] = Field(
        default=0.2, description="Pause of the list's refresher when nothing is dirty, seconds."
    )
    model_max_bytes: Annotated[int, Field(gt=0)] = Field(
        default=200 * 1024 * 1024, description="Largest 3D model that is read, bytes."
    )
    model_time_limit_s: Annotated[float, Field(gt=0)] = Field(
        default=60.0, description="Longest time that measuring one model may take before it is killed, seconds."
    )
    model_memory_limit_mb: Annotated[int, Field(ge=256)] = Field(
        default=4096, description="Most memory (address space) that measuring one model may take, MiB."
    )
    model_threads: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Threads that measuring one model may use; by default as many as there are cores."
    )
    upload_patience_s: Annotated[float, Field(ge=0, le=600)] = Field(
        default=10.0,
        description="Time that an upload waits for its model to be measured, seconds; then it is answered 202, and a "
        "worker measures it.",
    )
    vip_hours: Annotated[float, Field(ge=0)] = Field(
        default=48.0, description="Hours by which a VIP customer's order should start earlier."
    )
    b2b_hours: Annotated[float, Field(ge=0)] = Field(
        default=24.0, description="Hours by which a B2B customer's order should start earlier."
    )
    rush_hours: Annotated[float, Field(ge=0)] = Field(
        default=72.0, description="Hours by which a rush order should start earlier."
    )

    @field_validator("home", "models_root")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return path.expanduser().resolve() if path is not None else None

    @field_validator("objects_url", "feeds_url", "shop_statement_url", "crm_statement_url")
    @classmethod
    def _absolute_folder(cls, url: str | None) -> str | None:
        return str(Path(url).expanduser().resolve()) if url is not None and "://" not in url else url

    @field_validator("database_url", "database_read_url", "dagster_database_url")
    @classmethod
    def _is_postgres(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("postgresql://", "postgres://", "postgresql+psycopg://")):
            raise ValueError("must start with postgresql://")
        if url is not None and not _names_a_database(url):
            raise ValueError("must name a database: postgresql://user:password@host:port/name")
        return url

    @field_validator("nats_url")
    @classmethod
    def _is_nats(cls, url: str | None) -> str | None:
        if url is not None and not all(part.strip().startswith(("nats://", "tls://")) for part in url.split(",")):
            raise ValueError("must start with nats:// or tls://")
        return url

    @field_validator("rabbitmq_url")
    @classmethod
    def _is_amqp(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("amqp://", "amqps://")):
            raise ValueError("must start with amqp:// or amqps://")
        return url

    @field_validator("otlp_endpoint")
    @classmethod
    def _is_http(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        return url

    @property
    def objects_location(self) -> str:
        """Folder or URL of the object store."""
        return self.objects_url or str(self.home / "objects")

    @property
    def feeds_location(self) -> str:
        """Folder or URL of the feeds."""
        return self.feeds_url or str(self.home / "shop" / "feeds")

    @property
    def models_location(self) -> Path:
        """Folder below which the feeds' model paths lie."""
        return self.models_root or self.home / "shop" / "models"


def _names_a_database(url: str) -> bool:
    """Whether the URL's path or its `dbname` says which database.

    Raises:
        ValueError: host or port cannot be read; says nothing of the value, whose parts may be the password's.
    """
    try:
        parts = urlsplit(url)
        _ = parts.hostname, parts.port  # read only when asked for
    except ValueError:
        raise ValueError(
            "host and port cannot be read; write special characters of the password as %XX, an IPv6 address in "
            "brackets, and one port from 0 to 65535"
        ) from None
    return bool(parts.path.strip("/") or parse_qs(parts.query).get("dbname"))


def variable(name: str) -> str:
    """The environment variable of a setting: `MES_HOME` for `home`."""
    return f"{ENV_PREFIX}{name.upper()}"


def environment(settings: Settings) -> dict[str, str]:
    """The variables that give a child process, whatever its working directory, the same settings."""
    values = settings.model_dump()
    return {variable(name): str(value) for name, value in values.items() if value is not None}


@cache
def load() -> Settings:
    """Read the settings from the environment.

    Raises:
        BadConfiguration: a variable's value cannot be used; the message names the variable and says why, and never
            repeats the value, which may hold a password.
    """
    try:
        return Settings()
    except ValidationError as error:
        faults = "; ".join(
            f"{'_'.join([ENV_PREFIX.rstrip('_'), *map(str, fault['loc'])]).upper()}: "
            f"{fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors(include_input=False, include_url=False)
        )
        raise BadConfiguration(f"The configuration cannot be used. {faults}") from None
