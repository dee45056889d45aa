"""Events name the work that made them, by CloudEvents' extension for distributed tracing.

Revision: 0015, after 0014
"""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_BEFORE = "uuid, text, text, ops.order_status, integer, boolean, text, timestamptz, text, text, text, jsonb"


def _function(parameter: str, attribute: str) -> str:
    return f"""
        create function ops.cloud_event(
            order_id uuid, source text, external_id text, status ops.order_status, version integer, held boolean,
            type text, occurred_at timestamptz, system text, actor text, reason text, details jsonb{parameter}
        ) returns jsonb language sql stable as $$
            select jsonb_strip_nulls(jsonb_build_object(
                'specversion', '1.0',
                'id', order_id || '/' || version,
                'type', 'mes.order.' || lower(type) || '.v1',
                'source', '/mes',
                'subject', order_id,
                'time', to_char(occurred_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                'datacontenttype', 'application/json',
                'sequence', version::text,{attribute}
                'data', jsonb_build_object(
                    'order', jsonb_build_object('order_id', order_id, 'source', source, 'external_id', external_id),
                    'status', status, 'version', version, 'held', held,
                    'system', system, 'actor', actor, 'reason', reason, 'details', details)))
        $$
    """


def upgrade() -> None:
    """Add the parameter with a default, so that processes of the version before go on meanwhile."""
    op.execute(f"drop function ops.cloud_event({_BEFORE})")
    op.execute(_function(", traceparent text default null", " 'traceparent', traceparent,"))


def downgrade() -> None:
    """Take the parameter away; events that name their work keep it."""
    op.execute(f"drop function ops.cloud_event({_BEFORE}, text)")
    op.execute(_function("", ""))
