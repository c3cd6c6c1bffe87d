"""Speech made by eSpeak NG, in a process of its own: `python -m edgebench.tasks._synthetic_speech`.

The library is native code under the GPL, and nothing of it may show in the memory of a worker: it is
loaded by ctypes in a child that reads utterances as JSON and writes their samples.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edgebench.errors import EdgebenchError
from edgebench.processes.python_command import module_command

if TYPE_CHECKING:
    from numpy.typing import NDArray

# From eSpeak NG's speak_lib.h.
_RETRIEVAL, _RATE, _PITCH, _CHARACTERS, _UTF8 = 1, 1, 3, 1, 1
_DONT_EXIT = 0x8000
_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


class Utterance(NamedTuple):
    """Holds what is said and how: words per minute, pitch from 0 to 99."""

    text: str
    voice: str
    rate: int
    pitch: int


def speak(utterances: Sequence[Utterance]) -> tuple[list[NDArray[np.int16]], int]:
    """Samples of each utterance, and samples per second. Raises EdgebenchError."""
    done = subprocess.run(
        module_command("edgebench.tasks._synthetic_speech"),
        input=json.dumps(list(utterances)).encode(),
        capture_output=True,
        check=False,
    )
    header, _, samples = done.stdout.partition(b"\n")
    if done.returncode or not header:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise EdgebenchError(
            f"eSpeak NG gave no speech: {lines[-1] if lines else f'code {done.returncode}'}",
            "pip install --force-reinstall espeakng-loader",
        )
    said = json.loads(header)
    ends = np.cumsum(said["lengths"])[:-1]
    return np.split(np.frombuffer(samples, np.int16), ends), int(said["sample_rate"])


class _Espeak:
    def __init__(self) -> None:
        import espeakng_loader

        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        data = espeakng_loader.get_data_path().encode()
        self.sample_rate = int(self._library.espeak_Initialize(_RETRIEVAL, 0, data, _DONT_EXIT))
        if self.sample_rate <= 0:
            raise OSError("espeak_Initialize failed")
        self._heard: list[bytes] = []
        self._callback = _CALLBACK(self._hear)  # kept: the library calls it later
        self._library.espeak_SetSynthCallback(self._callback)

    def _hear(self, samples: ctypes._Pointer[ctypes.c_short], count: int, _events: int) -> int:
        if samples and count > 0:
            self._heard.append(ctypes.string_at(samples, 2 * count))
        return 0

    def say(self, utterance: Utterance) -> bytes:
        if self._library.espeak_SetVoiceByName(utterance.voice.encode()):
            raise OSError(f"no voice {utterance.voice!r}")
        self._library.espeak_SetParameter(_RATE, utterance.rate, 0)
        self._library.espeak_SetParameter(_PITCH, utterance.pitch, 0)
        self._heard.clear()
        text = utterance.text.encode()
        size = ctypes.c_size_t(len(text) + 1)
        if self._library.espeak_Synth(text, size, 0, _CHARACTERS, 0, _UTF8, None, None):
            raise OSError(f"espeak_Synth failed on {utterance.text!r}")
        self._library.espeak_Synchronize()
        return b"".join(self._heard)


def main() -> None:
    answer = os.dup(1)
    os.dup2(2, 1)
    espeak = _Espeak()
    said = [espeak.say(Utterance(*utterance)) for utterance in json.load(sys.stdin)]
    header = {"sample_rate": espeak.sample_rate, "lengths": [len(part) // 2 for part in said]}
    with os.fdopen(answer, "wb") as out:
        out.write(json.dumps(header).encode() + b"\n" + b"".join(said))


if __name__ == "__main__":
    main()
