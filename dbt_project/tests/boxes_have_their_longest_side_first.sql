-- one row per measurement whose oriented box is not given longest side first, or only in part
{{ config(severity='error', meta={'dagster': {'ref': {'name': 'stg_mes__geometries'}}}) }}

select
    geometries.model_id,
    geometries.kernel_version,
    geometries.box_length_mm,
    geometries.box_width_mm,
    geometries.box_height_mm
from {{ ref('stg_mes__geometries') }} as geometries
where
    num_nulls(geometries.box_length_mm, geometries.box_width_mm, geometries.box_height_mm) in (1, 2)
    or geometries.box_length_mm < geometries.box_width_mm
    or geometries.box_width_mm < geometries.box_height_mm
