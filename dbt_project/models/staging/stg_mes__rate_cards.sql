-- one row per active version of the rates; of two valid at a time, the later start wins, then the later activation
select
    rate_cards.rate_card_id,
    rate_cards.name,
    rate_cards.valid_from,
    coalesce(rate_cards.valid_to, 'infinity') as valid_to,
    rate_cards.loaded_at,
    rate_cards.activated_at
from {{ source('ops', 'rate_cards') }} as rate_cards
where rate_cards.activated_at is not null
