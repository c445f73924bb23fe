"""Readable class names of Mapillary Vistas, in the order of their ids, for imitations of its config files."""

VISTAS_1_2 = (
    "Bird", "Ground Animal", "Curb", "Fence", "Guard Rail", "Barrier", "Wall", "Bike Lane", "Crosswalk - Plain",
    "Curb Cut", "Parking", "Pedestrian Area", "Rail Track", "Road", "Service Lane", "Sidewalk", "Bridge", "Building",
    "Tunnel", "Person", "Bicyclist", "Motorcyclist", "Other Rider", "Lane Marking - Crosswalk",
    "Lane Marking - General", "Mountain", "Sand", "Sky", "Snow", "Terrain", "Vegetation", "Water", "Banner", "Bench",
    "Bike Rack", "Billboard", "Catch Basin", "CCTV Camera", "Fire Hydrant", "Junction Box", "Mailbox", "Manhole",
    "Phone Booth", "Pothole", "Street Light", "Pole", "Traffic Sign Frame", "Utility Pole", "Traffic Light",
    "Traffic Sign (Back)", "Traffic Sign (Front)", "Trash Can", "Bicycle", "Boat", "Bus", "Car", "Caravan",
    "Motorcycle", "On Rails", "Other Vehicle", "Trailer", "Truck", "Wheeled Slow", "Car Mount", "Ego Vehicle",
    "Unlabeled",
)  # fmt: skip
"""All 66 of v1.2."""

VISTAS_2_0 = (
    "Curb", "Fence", "Wall", "Road Shoulder", "Road", "Sidewalk", "Building", "Person", "Bicyclist", "Motorcyclist",
    "Lane Marking - Dashed Line", "Lane Marking - Straight Line", "Sky", "Terrain", "Vegetation", "Street Light",
    "Pole", "Utility Pole", "Traffic Light - General (Upright)", "Traffic Light - Cyclists", "Traffic Sign (Back)",
    "Traffic Sign (Front)", "Bicycle", "Bus", "Car", "Motorcycle", "On Rails", "Truck", "Ego Vehicle", "Unlabeled",
)  # fmt: skip
"""A selection of v2.0's 124, enough for every Cityscapes class; ids of the real list differ."""
