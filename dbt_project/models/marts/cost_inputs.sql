-- one row per measured model: what the costs of a piece of it depend on, beside the rates
{{ config(materialized='view') }}

-- distinct on, and not a join: a filter on model_id reaches the index
select distinct on (geometries.model_id)
    geometries.model_id,
    geometries.kernel_version,
    geometries.volume_mm3,
    geometries.area_mm2,
    geometries.extent_x_mm,
    geometries.extent_y_mm,
    geometries.extent_z_mm,
    geometries.box_length_mm,
    geometries.box_width_mm,
    geometries.box_height_mm,
    geometries.print_height_mm,
    geometries.support_mm3,
    geometries.detail
from {{ ref('stg_mes__geometries') }} as geometries
order by geometries.model_id asc, geometries.kernel_version desc
