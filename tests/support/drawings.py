"""What tests of pictures read from SVG and scenes."""

import re
from xml.etree import ElementTree

from tnlayers.draw.scene import Group, text_width

SVG = "{http://www.w3.org/2000/svg}"


def check_within(root):
    """All coordinates lie in the view box."""
    _, _, width, height = map(float, root.get("viewBox").split())
    for shape in root.iter():
        box = []
        if shape.tag == f"{SVG}circle":
            x, y, r = (float(shape.get(key)) for key in ("cx", "cy", "r"))
            box = [(x - r, y - r), (x + r, y + r)]
        elif shape.tag == f"{SVG}path":
            numbers = list(map(float, re.findall(r"-?[\d.]+", shape.get("d"))))
            box = list(zip(numbers[::2], numbers[1::2], strict=True))
        elif shape.tag == f"{SVG}text":
            room = text_width(shape.text, float(shape.get("font-size")))
            left = float(shape.get("x")) - room * {"start": 0, "middle": 0.5, "end": 1}[shape.get("text-anchor")]
            box = [(left, float(shape.get("y"))), (left + room, float(shape.get("y")))]
        assert all(-1 <= x <= width + 1 and -1 <= y <= height + 1 for x, y in box), ElementTree.tostring(shape)


def shapes(shape, kind):
    if isinstance(shape, Group):
        return [each for inner in shape.shapes for each in shapes(inner, kind)]
    return [shape] if isinstance(shape, kind) else []
