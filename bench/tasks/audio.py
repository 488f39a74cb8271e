"""Recordings as log-mel features, by kaldi-native-fbank, which computes what Kaldi does.

Of the libraries for it, torchaudio has no release for this torch, and librosa brings 200 MB of
compiler that spends half a minute at the first call.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distillbench.bench.errors import ConfigError

FRAME_MS, HOP_MS = 25.0, 10.0


def log_mels(paths: Sequence[Path], rate: int, mels: int) -> list[Tensor]:
    """Return each recording's energies in mel bands, in nats, (L, mels), a frame every 10 ms.

    Args:
        paths: Files that libsndfile can read, such as WAV, FLAC and OGG. Channels are averaged.
        rate: Their sampling rate in hertz.
        mels: Number of bands.

    Raises:
        ConfigError: A file cannot be read, is empty, or has another rate, or a library is missing.
    """
    try:
        import kaldi_native_fbank as fbank
        import soundfile
    except ImportError as error:
        raise ConfigError(
            f"audio needs {error.name}, which is not installed: pip install 'distillbench[audio]'"
        ) from error
    options = fbank.FbankOptions()
    options.frame_opts.samp_freq = rate
    options.frame_opts.frame_length_ms, options.frame_opts.frame_shift_ms = FRAME_MS, HOP_MS
    options.frame_opts.snip_edges = False  # a recording shorter than a frame gives one too
    options.frame_opts.dither = 0.0  # which would draw noise
    options.mel_opts.num_bins = mels
    return [_log_mel(fbank, options, _samples(soundfile, path, rate), rate) for path in paths]


def _samples(soundfile: Any, path: Path, rate: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    try:
        samples, found = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, RuntimeError) as error:  # among others LibsndfileError, a RuntimeError
        raise ConfigError(f"{path} cannot be read as audio: {error}") from error
    if len(samples) == 0:
        raise ConfigError(f"{path} is empty; expected a recording of at least one sample")
    if found != rate:
        raise ConfigError(f"{path} has {found} samples a second; expected {rate}: resample it")
    mono: np.ndarray[Any, np.dtype[np.float32]] = samples.mean(axis=1)
    return mono


def _log_mel(
    fbank: Any, options: Any, samples: np.ndarray[Any, np.dtype[np.float32]], rate: int
) -> Tensor:
    reader = fbank.OnlineFbank(options)
    reader.accept_waveform(rate, samples.tolist())
    reader.input_finished()
    frames = [reader.get_frame(number) for number in range(reader.num_frames_ready)]
    return torch.from_numpy(np.stack(frames))
