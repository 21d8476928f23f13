"""WAV files: sound as whole numbers of 16 bits, in RIFF chunks. Needs numpy only."""

import struct

import numpy as np

PCM, EXTENSIBLE = 1, 0xFFFE


def read_wav(content: bytes) -> tuple[int, np.ndarray]:
    """Return a mono file's samples a second and its samples (S,) int16.

    Raises: ValueError, saying why, for another kind of file or one that is cut short.
    """
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        raise ValueError("is not a WAV file")
    at, layout = 12, None
    while at + 8 <= len(content):
        name, size = content[at : at + 4], int.from_bytes(content[at + 4 : at + 8], "little")
        body = content[at + 8 : at + 8 + size]
        if len(body) < size:
            raise ValueError("is a WAV file that is cut short")
        if name == b"fmt ":
            layout = layout_of(body)
        if name == b"data":
            if layout is None:
                break
            if size % 2:
                raise ValueError("is a WAV file that is cut short")
            return layout, np.frombuffer(body, "<i2").astype(np.int16)
        at += 8 + size + size % 2
    raise ValueError("is a WAV file without sound")


def layout_of(body: bytes) -> int:
    """Return the samples a second that a format chunk tells; ValueError unless it is mono of 16 bits."""
    if len(body) < 16:
        raise ValueError("is a WAV file that is cut short")
    kind, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", body)
    if kind not in (PCM, EXTENSIBLE):
        raise ValueError(f"is a WAV file of kind {kind}, not plain samples")
    if channels != 1:
        raise ValueError(f"has {channels} channels, not one")
    if bits != 16:
        raise ValueError(f"has samples of {bits} bits, not 16")
    return int(rate)


def write_wav(rate: int, samples: np.ndarray) -> bytes:
    """Return a mono file of samples (S,) int16, `rate` a second."""
    sound = np.ascontiguousarray(samples, "<i2").tobytes()
    layout = struct.pack("<HHIIHH", PCM, 1, rate, 2 * rate, 2, 16)
    chunks = b"WAVEfmt " + struct.pack("<I", len(layout)) + layout + b"data" + struct.pack("<I", len(sound)) + sound
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks
