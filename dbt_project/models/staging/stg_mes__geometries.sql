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
    geometries.facing
from {{ source('ops', 'geometries') }} as geometries
