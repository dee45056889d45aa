-- one row per price
select
    quotes.quote_id,
    quotes.order_id,
    quotes.line,
    quotes.rate_card_id,
    quotes.kernel_version,
    quotes.total,
    quotes.currency,
    quotes.valid_until,
    quotes.superseded_by,
    quotes.created_at
from {{ source('ops', 'quotes') }} as quotes
