"""Counts the pages that are open: each holds a websocket for as long as somebody looks at it."""

from starlette.types import ASGIApp, Receive, Scope, Send

from mes.observability import metrics


class SessionCount:
    """ASGI middleware in front of Streamlit."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on."""
        if scope["type"] != "websocket":
            await self.app(scope, receive, send)
            return
        with metrics.console_session():
            await self.app(scope, receive, send)
