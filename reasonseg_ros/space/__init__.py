"""3D from depth: lens models, calibrations, and the points and oriented boxes of masks."""
