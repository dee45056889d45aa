-- one row per customer and source
select
    customers.customer_id,
    customers.source,
    customers.external_id,
    customers.name,
    customers.tier
from {{ source('ops', 'customers') }} as customers
