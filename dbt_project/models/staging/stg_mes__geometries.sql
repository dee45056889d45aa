-- one row per model and version of the geometry kernel
select
    geometries.model_id,
    geometries.kernel_version,
    geometries.volume_mm3,
    geometries.area_mm2,
    geometries.extent_x_mm,
    geometries.extent_y_mm,
    geometries.extent_z_mm,
    geometries.bodies,
    geometries.closed,
    geometries.open_edges,
    geometries.facing,
    geometries.box_length_mm,
    geometries.box_width_mm,
    geometries.box_height_mm,
    geometries.print_height_mm,
    geometries.support_mm3,
    geometries.detail,
    geometries.thinnest_mm
from {{ source('ops', 'geometries') }} as geometries
