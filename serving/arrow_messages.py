"""Whether an Arrow message holds compressed buffers: pyarrow would not say before it has inflated them.

Source: Message.fbs of the Arrow columnar format, and the layout of FlatBuffers tables.
"""

import struct

DICTIONARY, BATCH = 2, 3  # of MessageHeader
HEADER_TYPE, HEADER = 1, 2  # fields of Message
DATA = 1  # field of DictionaryBatch
COMPRESSION = 3  # field of RecordBatch


def is_compressed(metadata: bytes) -> bool:
    """Whether a message's buffers are compressed; what can't be read counts as compressed."""
    try:
        root = number("<I", metadata, 0)
        kind_at = field(metadata, root, HEADER_TYPE)
        kind = metadata[kind_at] if kind_at else 0
        if kind not in {DICTIONARY, BATCH}:
            return False
        batch = pointed(metadata, field(metadata, root, HEADER))
        if kind == DICTIONARY:
            batch = pointed(metadata, field(metadata, batch, DATA))
        return field(metadata, batch, COMPRESSION) != 0
    except (struct.error, IndexError):
        return True


def field(metadata: bytes, table: int, place: int) -> int:
    """Return where a table's field lies, 0 where it has none."""
    vtable = table - number("<i", metadata, table)
    slot = 4 + 2 * place
    if slot >= number("<H", metadata, vtable):
        return 0
    offset = number("<H", metadata, vtable + slot)
    return table + offset if offset else 0


def pointed(metadata: bytes, at: int) -> int:
    """Follow an offset."""
    return at + number("<I", metadata, at)


def number(form: str, metadata: bytes, at: int) -> int:
    """Read one number.

    Raises: struct.error beyond the end.
    """
    if at < 0:
        raise struct.error("before the beginning")
    found: int = struct.unpack_from(form, metadata, at)[0]
    return found
