"""What the tests of damaged and forged files share."""

import json
import struct

import tnlayers as tnl


def load_or_refusal(data, folder):
    """The arrays of the layer in such a file, or None where it is refused; another exception fails the test."""
    path = folder / "changed"
    path.write_bytes(data)
    try:
        layer = tnl.load(path)
    except tnl.TNLayersError:
        return None
    return {**layer.cores, "bias": layer.bias}


def raw(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data
