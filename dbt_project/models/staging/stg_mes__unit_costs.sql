-- one row per measured model, metal and finish
select
    costs.model_id,
    costs.material,
    costs.finish,
    costs.kernel_version,
    costs.rate_card_id,
    costs.mass_g,
    costs.material_cost,
    costs.work_cost,
    costs.unit_price,
    costs.currency,
    costs.problem,
    costs.refreshed_at
from {{ source('ops', 'cost_table') }} as costs
