-- one row per version of the rates; of two that are valid at a time, the later start wins, then the later load
select
    rate_cards.rate_card_id,
    rate_cards.name,
    rate_cards.valid_from,
    coalesce(rate_cards.valid_to, 'infinity') as valid_to,
    rate_cards.loaded_at
from {{ source('ops', 'rate_cards') }} as rate_cards
