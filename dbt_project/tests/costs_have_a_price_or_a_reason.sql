-- one row per unit cost that has a price and a reason for having none, or neither, or is below what it is made of
{{ config(severity='error', meta={'dagster': {'ref': {'name': 'stg_mes__unit_costs'}}}) }}

select
    costs.model_id,
    costs.material,
    costs.finish,
    costs.unit_price,
    costs.problem
from {{ ref('stg_mes__unit_costs') }} as costs
where
    (costs.unit_price is null) is distinct from (costs.problem is not null)
    or costs.unit_price < costs.material_cost + costs.work_cost
