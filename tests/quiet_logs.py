"""What a test's own process logs, redacted as programs do it, and without the values of variables."""

import structlog

from mes.observability import logs
from mes.observability.redaction import redact


def restore() -> None:
    """Log as at the beginning of the tests, whatever a test has set up."""
    structlog.configure(
        processors=[
            logs.add_bound,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            redact,
            structlog.dev.ConsoleRenderer(colors=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(0),
        logger_factory=structlog.PrintLoggerFactory(),
        cache_logger_on_first_use=False,
    )
